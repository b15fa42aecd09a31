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

_EVENTS = "events.out.tfevents.arsbench"


def write_csv(runs: Sequence[Run], path: Path) -> list[Path]:
    """Write a row per run and epoch to `path`; beside it a row per step, and per mid-epoch evaluation.

    Those are NAME.steps.csv and NAME.evaluations.csv, each written if a run has such records.

    Every value of a record has a column, named by its keys: "evaluation.validation.strict.loss". A cell is
    empty where a run has no such value.

    Returns:
        the files.

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
            written.append(path.with_name(f"{path.stem}{name}{path.suffix}") if name else path)
            with atomic_write(written[-1]) as file:
                columns = dict.fromkeys(itertools.chain(_LABELS, *rows))
                writer = csv.DictWriter(file, list(columns), lineterminator="\n")
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
    """Write each run's values as TensorBoard scalars, in a folder of `directory` per run.

    Tags are "epoch/…" at the last step of an epoch, or at the step of an evaluation within it, and "step/…"
    at each logged step. An imported report counts epochs in place of steps. Wall times are seconds since the
    run started; a logged step, whose time is not recorded, has that of the epoch or evaluation before it.

    Returns:
        the files; existing ones are replaced.

    Raises:
        UserError: the package tensorboard is missing, or a file cannot be written.
    """
    Event, Summary, RecordWriter = require_tensorboard()
    paths = []
    for run in runs:
        path = directory / _folder_name(run.name) / _EVENTS
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
    events: list[tuple[int, int, float | None, str, Record]]
    events = [(record["step"], 0, None, "step", record) for record in run.steps]
    for record in _evaluations(run):
        figures = {"evaluation": record["evaluation"]}
        events.append((record["step"], 1, record["total_seconds"] or 0.0, "epoch", figures))
    seconds = 0.0
    for record in run.epochs:
        seconds += record.get("epoch_seconds") or 0.0
        step = record["epoch"] if record.get("step") is None else record["step"]
        events.append((step, 1, seconds, "epoch", record))
    clock = 0.0
    for step, _, end, kind, record in sorted(events, key=lambda event: event[:2]):
        clock = clock if end is None else end
        yield clock, step, _scalars(kind, record)


def _scalars(kind: str, record: Record) -> dict[str, float]:
    return {
        f"{kind}/{name.replace('.', '/')}": float(value)
        for name, value in _flat(record).items()
        if name != "step" and isinstance(value, int | float)
    }


def _folder_name(name: str) -> str:
    """A run's name, which may be a path, as a folder's name."""
    return name.strip("/.").replace("/", "-").replace("..", "-") or "run"


def _with_totals(records: Iterable[Record]) -> Iterator[Record]:
    totals: dict[str, float | None] = dict.fromkeys(_TOTALS, 0)
    for record in records:
        for total, key in _TOTALS.items():
            spent, so_far = record.get(key), totals[total]
            totals[total] = None if spent is None or so_far is None else so_far + spent
        leading = {key: record.get(key) for key in ("epoch", "task", "step")}
        yield leading | totals | record


def _evaluations(run: Run) -> Iterator[Record]:
    """The evaluations within epochs, with what the run had spent by then."""
    ended = {record["epoch"]: record for record in _with_totals(run.epochs)}
    for record in run.evaluations:
        before = ended.get(record["epoch"] - 1, dict.fromkeys(_TOTALS, 0))
        spent = {
            total: None if before[total] is None else before[total] + record[key]
            for total, key in _TOTALS.items()
        }
        leading = {key: record[key] for key in ("epoch", "step")}
        yield leading | spent | {"evaluation": record["evaluation"]}


def _flat(record: Record, prefix: str = "") -> Record:
    """The values of a record by their nested names."""
    result: Record = {}
    for key, value in record.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result
