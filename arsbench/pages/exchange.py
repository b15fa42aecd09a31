"""Runs as CSV and as TensorBoard's event files."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from arsbench.analysis import Run
from arsbench.errors import UserError
from arsbench.files import atomic_write

Record = dict[str, Any]

# The first columns of every row; `total_…` is what the run had spent by the end of that epoch.
_LABELS = ("run", "contender", "seed", "state", "diverged_at")
_TOTALS = {"total_passes": "forward_backward_passes", "total_seconds": "epoch_seconds"}


def write_csv(runs: Sequence[Run], path: Path) -> list[Path]:
    """Write a row per run and epoch to `path`; beside it a row per step, and per mid-epoch evaluation.

    Those are NAME.steps.csv and NAME.evaluations.csv, each written if a run has such records. Returns the
    files.

    Every value of a record has a column, named by its keys: "evaluation.validation.strict.loss". A cell is
    empty where a run has no such value.

    Raises:
        UserError: a file cannot be written.
    """
    tables: dict[str, list[Record]] = {"": [], ".steps": [], ".evaluations": []}
    for run in runs:
        labels = {"run": run.name} | {key: getattr(run, key) for key in _LABELS[1:]}
        records = _with_totals(run.epochs), run.steps, _evaluations(run)
        for rows, group in zip(tables.values(), records, strict=True):
            rows += [labels | _flat(record) for record in group]
    written = []
    for name, rows in tables.items():
        if rows or not name:
            written.append(path.with_stem(path.stem + name))
            with atomic_write(written[-1]) as file:
                columns = dict.fromkeys(itertools.chain(_LABELS, *rows))
                writer = csv.DictWriter(file, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    return written


def require_tensorboard() -> tuple[Any, Any, Any]:
    """The classes that event files are written with: Event, Summary and RecordWriter.

    Raises:
        UserError: the package tensorboard is not installed.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise UserError(
            f"event files need the package tensorboard ({error}); run: pip install 'arsbench[tensorboard]'"
        ) from error
    return Event, Summary, RecordWriter


def write_tensorboard(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Write each run's values as TensorBoard scalars, in a folder of `directory` per run; returns the files.

    Existing files are replaced.

    Tags are "epoch/…" at the last step of an epoch, or at the step of an evaluation within it, and "step/…"
    at each logged step. An imported report counts epochs in place of steps. Wall times are seconds since the
    run started; a logged step, whose time is not recorded, has that of the epoch or evaluation before it.

    Raises:
        UserError: the package tensorboard is missing, or a file cannot be written.
    """
    Event, Summary, RecordWriter = require_tensorboard()
    paths = []
    for run in runs:
        folder = run.name.strip("/.").replace("/", "-").replace("..", "-")  # a name may be a path
        path = directory / (folder or "run") / "events.out.tfevents.arsbench"
        with atomic_write(path, "wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
            for clock, step, values in _events(run):
                scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
                event = Event(wall_time=clock, step=step, summary=Summary(value=scalars))
                writer.write(event.SerializeToString())
        paths.append(path)
    return paths


def _events(run: Run) -> Iterator[tuple[float, int, dict[str, float]]]:
    """Seconds since the start, step and values, in the order of time."""
    events: list[tuple[int, int, float | None, Record]]
    events = [(record["step"], 0, None, record) for record in run.steps]
    for record in _evaluations(run):
        evaluation = {"evaluation": record["evaluation"]}
        events.append((record["step"], 1, record["total_seconds"] or 0.0, evaluation))
    seconds = itertools.accumulate(record.get("epoch_seconds") or 0.0 for record in run.epochs)
    for end, record in zip(seconds, run.epochs, strict=True):
        step = record["epoch"] if record.get("step") is None else record["step"]
        events.append((step, 1, end, record))
    clock = 0.0
    for step, _, end, record in sorted(events, key=lambda event: event[:2]):
        clock, kind = (clock, "step") if end is None else (end, "epoch")
        figures = {
            name: v for name, v in _flat(record).items() if name != "step" and isinstance(v, int | float)
        }
        yield clock, step, {f"{kind}/{name.replace('.', '/')}": float(v) for name, v in figures.items()}


def _with_totals(records: Iterable[Record]) -> Iterator[Record]:
    totals: Record = dict.fromkeys(_TOTALS, 0)
    for record in records:
        totals = _spent(totals, record)
        yield {key: record.get(key) for key in ("epoch", "task", "step")} | totals | record


def _evaluations(run: Run) -> Iterator[Record]:
    """The evaluations within epochs, with what the run had spent by then."""
    ended = {record["epoch"]: record for record in _with_totals(run.epochs)}
    for record in run.evaluations:
        before = ended.get(record["epoch"] - 1, dict.fromkeys(_TOTALS, 0))
        spent = _spent(before, record)
        yield {"epoch": record["epoch"], "step": record["step"], **spent, "evaluation": record["evaluation"]}


def _spent(before: Record, record: Record) -> Record:
    """The totals at a record; None where this record or one before has no such figure."""
    pairs = {total: (before[total], record.get(key)) for total, key in _TOTALS.items()}
    return {total: None if None in pair else sum(pair) for total, pair in pairs.items()}


def _flat(record: Record, prefix: str = "") -> Record:
    """The values of a record by their nested names."""
    result: Record = {}
    for key, value in record.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
