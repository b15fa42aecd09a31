"""Runs in other programs' forms: JSON, CSV, and TensorBoard's event files."""

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

# What leads every row; `total_…` is what had been spent by the end of that epoch.
_OF_THE_RUN = ("run", "contender", "seed", "state", "diverged_at")
_TOTALS = {"total_passes": "forward_backward_passes", "total_seconds": "epoch_seconds"}

_EVENTS = "events.out.tfevents.arsbench"


def write_csv(runs: Sequence[Run], path: Path) -> list[Path]:
    """Write a row per run and epoch to `path`; beside it a row per step, and per mid-epoch evaluation.

    Those are NAME.steps.csv and NAME.evaluations.csv, each made where a run has such records.

    Every figure of a record has a column, named as it is nested: "evaluation.validation.strict.loss". A cell
    is empty where a run has no such figure.

    Returns:
        the files.

    Raises:
        UserError: a file cannot be written.
    """
    epochs = [_of_the_run(run) | _flat(record) for run in runs for record in _with_totals(run.epochs)]
    steps = [_of_the_run(run) | _flat(record) for run in runs for record in run.steps]
    evaluations = [_of_the_run(run) | _flat(record) for run in runs for record in _evaluations(run)]
    _write_table(epochs, path)
    written = [path]
    for name, rows in (("steps", steps), ("evaluations", evaluations)):
        if rows:
            written.append(path.with_name(f"{path.stem}.{name}{path.suffix}"))
            _write_table(rows, written[-1])
    return written


def write_tensorboard(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Write each run's figures as TensorBoard's scalars to a folder of its own in `directory`.

    Tags are the figures' names: "epoch/…" at the epoch's last step, or at that of an evaluation within it,
    and "step/…" at the step; an imported report counts in epochs. The clock of an epoch or evaluation is the
    run's, in seconds since its start; that of a step, which is not recorded, is the last one before.

    Returns:
        the files, each replaced where it was there already.

    Raises:
        UserError: the package tensorboard is missing, or a file cannot be written.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise UserError(
            f"event files need the package tensorboard ({error}); install the extra arsbench[tensorboard]"
        ) from error
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
    """Seconds since the start, step and figures, in the order of time."""
    steps = iter(run.steps)
    pending = next(steps, None)
    clock = 0.0
    for end, step, figures in _evaluated(run):
        while pending is not None and pending["step"] <= step:
            yield clock, pending["step"], _scalars("step", pending)
            pending = next(steps, None)
        clock = end
        yield clock, step, figures
    for record in itertools.chain([] if pending is None else [pending], steps):
        yield clock, record["step"], _scalars("step", record)


def _evaluated(run: Run) -> list[tuple[float, int, dict[str, float]]]:
    """The same of epochs' ends and of the evaluations within them."""
    found = [
        (
            record["total_seconds"] or 0.0,
            record["step"],
            _scalars("epoch", {"evaluation": record["evaluation"]}),
        )
        for record in _evaluations(run)
    ]
    clock = 0.0
    for record in run.epochs:
        clock += record.get("epoch_seconds") or 0.0
        step = record.get("step")
        found.append((clock, record["epoch"] if step is None else step, _scalars("epoch", record)))
    return sorted(found, key=lambda event: event[1])


def _scalars(kind: str, record: Record) -> dict[str, float]:
    figures = {name: value for name, value in _flat(record).items() if name != "step"}
    return {
        f"{kind}/{name.replace('.', '/')}": float(value)
        for name, value in figures.items()
        if isinstance(value, int | float)
    }


def _folder_name(name: str) -> str:
    """A run's name, which may be a path, as the name of one folder."""
    return name.strip("/.").replace("/", "-").replace("..", "-") or "run"


def _of_the_run(run: Run) -> Record:
    facts = (run.name, run.contender, run.seed, run.state, run.diverged_at)
    return dict(zip(_OF_THE_RUN, facts, strict=True))


def _with_totals(records: Iterable[Record]) -> Iterator[Record]:
    totals: dict[str, float | None] = dict.fromkeys(_TOTALS, 0)
    for record in records:
        for total, key in _TOTALS.items():
            spent, so_far = record.get(key), totals[total]
            totals[total] = None if spent is None or so_far is None else so_far + spent
        leading = {key: record.get(key) for key in ("epoch", "task", "step")}
        yield leading | totals | record


def _evaluations(run: Run) -> Iterator[Record]:
    """Those within epochs; `total_…` is what the run had spent by then."""
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
    """The figures of a record by their nested names."""
    result: Record = {}
    for key, value in record.items():
        if isinstance(value, dict):
            result |= _flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = value
    return result


def _write_table(rows: Sequence[Record], path: Path) -> None:
    columns = dict.fromkeys(itertools.chain(_OF_THE_RUN, *rows))
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
