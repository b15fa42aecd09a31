"""What a user sees while a run or a suite runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Self

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column

from arsbench.metrics import perplexity_text
from arsbench.runs.folder import RunFolder

from .common import console

if TYPE_CHECKING:
    from arsbench.suite import Snapshot

REFRESH_S = 0.1
STEP_INTERVAL_S = 10.0
# Epochs of a small task take less time. Only some of them are shown; the report has them all.
EPOCH_INTERVAL_S = 1.0
SUITE_INTERVAL_S = 30.0
SPEED_WINDOW_S = 600.0  # remaining time is estimated from the speed in this window
MIN_BAR = 10  # columns
FIGURES = {
    "loss": "{:.4f}".format,
    "perplexity": partial(perplexity_text, spec=".2f"),
    "accuracy": "{:.4f}".format,
}


class _Observer:
    """Shows messages and a rich progress display.

    Args:
        stream: where the output goes. Bars are drawn on a terminal only; elsewhere the display is not started
            and only estimates the remaining time.
        columns: shown right of the bar.
    """

    def __init__(self, stream: IO[str], *columns: ProgressColumn) -> None:
        self._draws_bars = stream.isatty()
        # Bars show the first step at once; lines begin after an interval.
        self._shown = {} if self._draws_bars else dict.fromkeys(("step", "suite"), time.monotonic())
        output = console()
        # On a narrow terminal the bars are short and the texts wrap; nothing is cut.
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(overflow="fold")),
            BarColumn(bar_width=max(MIN_BAR, min(40, output.width - 64))),
            *columns,
            TextColumn("{task.fields[figures]}", table_column=Column(overflow="fold")),
            console=output,
            speed_estimate_period=SPEED_WINDOW_S,
        )

    def __enter__(self) -> Self:
        if self._draws_bars:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._draws_bars:
            self._progress.stop()

    def message(self, text: str) -> None:
        if self._draws_bars:
            self._progress.console.print(text, markup=False)
        else:
            click.echo(text)

    def _due(self, kind: str, interval: float) -> bool:
        """Whether a line of this kind is due: the last was shown `interval` seconds ago or earlier."""
        now = time.monotonic()
        due = now - self._shown.get(kind, -interval) >= interval
        if due:
            self._shown[kind] = now
        return due

    def _bar(self, title: str, completed: float, total: float | None) -> Task:
        """The bar of that title, made if missing, at `completed`; a moving bar where `total` is None."""
        for bar in self._progress.tasks:
            if bar.description == title:
                self._progress.update(bar.id, completed=completed, total=total)
                return bar
        self._progress.add_task(title, completed=completed, total=total, figures="")
        return self._progress.tasks[-1]


class TrainingObserver(_Observer):
    """See `arsbench.training.Observer`.

    Elsewhere than on a terminal: a line every ten seconds, and one per epoch but at most one per second.
    """

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream, MofNCompleteColumn(table_column=Column(no_wrap=True)))

    def configuration(self, run: RunFolder) -> None:
        """Show the effective configuration and the parameter groups."""
        for line in describe(run):
            self.message(line)

    def start(self, task: str, step: int, total_steps: int) -> None:
        self._seconds, self._tokens, self._total = 0.0, 0, total_steps
        self._bar("training", step, total_steps)
        if not self._draws_bars:
            self.message(f"{task}: step {step} of {total_steps}")

    def step(self, record: dict[str, Any]) -> None:
        self._seconds += record["seconds"]
        self._tokens += record["tokens"]
        bar = self._bar("training", record["step"], self._total)
        if not self._due("step", REFRESH_S if self._draws_bars else STEP_INTERVAL_S):
            return  # an estimate per step would slow a small task down
        speed = f"{self._tokens / self._seconds:,.0f} tokens/s"
        figures = "  ".join([f"loss {record['loss']:.4f}", speed, *remaining(bar)])
        if self._draws_bars:
            self._progress.update(bar.id, figures=figures, refresh=True)
        else:
            self.message(f"step {record['step']}/{self._total}  {figures}")

    def evaluating(self, split: str) -> None:
        if self._draws_bars:
            due = self._due("evaluating", REFRESH_S)
            self._progress.update(
                self._progress.tasks[0].id, figures=f"evaluating on {split} ...", refresh=due
            )
        elif self._due(f"evaluating on {split}", EPOCH_INTERVAL_S):
            self.message(f"evaluating on {split} ...")

    def epoch(self, record: dict[str, Any]) -> None:
        if self._due("epoch", EPOCH_INTERVAL_S):
            self.message(epoch_line(record))


class SuiteObserver(_Observer):
    """See `arsbench.suite.SuiteObserver`.

    Elsewhere than on a terminal: a line whenever a run begins or ends, and one on all runs every half minute.
    """

    def progress(self, snapshot: Snapshot) -> None:
        done = snapshot.done + sum(fraction or 0.0 for _, fraction in snapshot.running)
        bar = self._bar(snapshot.title, done, snapshot.total)
        figures = summary(snapshot, bar)
        if not self._draws_bars:
            if self._due("suite", SUITE_INTERVAL_S):
                self.message(f"{snapshot.title}: {figures}")
            return
        self._progress.update(bar.id, figures=figures)
        running = {f"  {name}": fraction for name, fraction in snapshot.running}
        for title, fraction in running.items():
            bar = self._bar(title, fraction or 0.0, None if fraction is None else 1.0)
            self._progress.update(bar.id, figures="" if fraction is None else f"{fraction:.0%}")
        for bar in self._progress.tasks:
            if bar.description not in {snapshot.title, *running}:
                self._progress.remove_task(bar.id)


def summary(snapshot: Snapshot, bar: Task) -> str:
    """The numbers of jobs, the elapsed and the estimated remaining time."""
    figures = [
        f"{snapshot.done} of {snapshot.total} done",
        f"{len(snapshot.running)} running",
        f"{snapshot.waiting} waiting",
        *([f"{snapshot.failed} failed"] if snapshot.failed else []),
        f"{duration(bar.elapsed or 0)} elapsed",
        *(f"about {text}" for text in remaining(bar)),
    ]
    return ", ".join(figures)


def remaining(bar: Task) -> list[str]:
    """The estimated time to the end; [] before there is an estimate."""
    seconds = bar.time_remaining
    return [] if seconds is None else [f"{duration(seconds)} left"]


def epoch_line(record: dict[str, Any]) -> str:
    """An epoch in a line."""
    # The report's columns show the first protocol, too.
    figures = next(iter(record["evaluation"]["validation"].values()))
    shown = ", ".join(f"{name} {text(figures[name])}" for name, text in FIGURES.items() if name in figures)
    return (
        f"epoch {record['epoch']}: train loss {record['train_loss']:.4f}, validation {shown}, "
        f"{duration(record['epoch_seconds'])}"
    )


def describe(run: RunFolder) -> list[str]:
    """The effective configuration, a line per section, and a line per parameter group."""
    lines = [f"run folder: {run.path}"]
    for section, table in run.effective.items():
        lines.append(f"{section}: " + ", ".join(f"{key}={value}" for key, value in table.items()))
    for group in run.groups:
        hyperparameters = ", ".join(f"{key}={value}" for key, value in group["hyperparameters"].items())
        lines.append(
            f"group {group['name']}: {group['tensors']} tensors, {group['parameters']:,} parameters, "
            f"{hyperparameters}"
        )
    backends = run.environment["backends"]  # {} before any op was called
    if backends:
        lines.append("backends: " + ", ".join(f"{op} {name}" for op, name in backends.items()))
    return lines


def duration(seconds: float) -> str:
    """As h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
