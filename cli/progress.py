"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import IO, Any

import click

from arsbench.metrics import perplexity_text
from arsbench.runs.folder import RunFolder

STEP_INTERVAL_S = 10.0
# Epochs of a small task take less: only some of them are shown, and the report has them all.
EPOCH_INTERVAL_S = 1.0
FIGURES = {"loss": ".4f", "perplexity": ".2f", "accuracy": ".4f"}


def create_observer(stream: IO[str]) -> contextlib.AbstractContextManager[Any]:
    """An observer of training (see `arsbench.training.Observer`) that suits `stream`."""
    return BarObserver() if stream.isatty() else PlainObserver()


class PlainObserver(contextlib.nullcontext):
    """Lines: one every ten seconds, one an epoch, but no more than one a second."""

    def __init__(self) -> None:
        super().__init__(self)
        self._rate = _Rate()
        self._shown = {"step": time.monotonic()}

    def configuration(self, run: RunFolder) -> None:
        """Show what is run: the effective configuration and the parameter groups."""
        for line in describe(run):
            self.message(line)

    def start(self, task: str, step: int, total_steps: int) -> None:
        self._total_steps = total_steps
        self.message(f"{task}: step {step} of {total_steps}")

    def step(self, record: dict[str, Any]) -> None:
        self._rate.add(record)
        if self._due("step", STEP_INTERVAL_S):
            self.message(
                f"step {record['step']}/{self._total_steps}  loss {record['loss']:.4f}  "
                f"{self._rate.tokens_per_second:,.0f} tokens/s  "
                f"{duration(self._rate.remaining(record['step'], self._total_steps))} left"
            )

    def evaluating(self, split: str) -> None:
        if self._due(f"evaluating on {split}", EPOCH_INTERVAL_S):
            self.message(f"evaluating on {split} ...")

    def epoch(self, record: dict[str, Any]) -> None:
        if self._due("epoch", EPOCH_INTERVAL_S):
            self.message(epoch_line(record))

    def message(self, text: str) -> None:
        click.echo(text)

    def _due(self, line: str, interval: float) -> bool:
        """Whether a line of this kind was last shown so many seconds ago, in which case it now is."""
        now = time.monotonic()
        due = now - self._shown.get(line, -interval) >= interval
        if due:
            self._shown[line] = now
        return due


class BarObserver(PlainObserver):
    """One line that moves, with the epochs' lines above it."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(highlight=False),
        )

    def __enter__(self) -> BarObserver:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def start(self, task: str, step: int, total_steps: int) -> None:
        self._total_steps = total_steps
        self._bar = self._progress.add_task("training", total=total_steps, completed=step, figures="")

    def step(self, record: dict[str, Any]) -> None:
        self._rate.add(record)
        figures = (
            f"loss {record['loss']:.3f}  {self._rate.tokens_per_second:,.0f} tokens/s  "
            f"{duration(self._rate.remaining(record['step'], self._total_steps))} left"
        )
        self._progress.update(self._bar, completed=record["step"], description="training", figures=figures)

    def evaluating(self, split: str) -> None:
        self._progress.update(self._bar, description=f"evaluating on {split}")

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False)


class _Rate:
    """Speed over the steps of this process."""

    def __init__(self) -> None:
        self._seconds, self._tokens, self._steps = 0.0, 0, 0

    def add(self, record: dict[str, Any]) -> None:
        self._seconds += record["seconds"]
        self._tokens += record["tokens"]
        self._steps += 1

    @property
    def tokens_per_second(self) -> float:
        return self._tokens / self._seconds

    def remaining(self, step: int, total_steps: int) -> float:
        """Seconds of training still to come; evaluation is not counted."""
        return (total_steps - step) * self._seconds / self._steps


def epoch_line(record: dict[str, Any]) -> str:
    """An epoch in a line."""
    # The first protocol is the one that the report's columns are of.
    figures = next(iter(record["evaluation"]["validation"].values()))
    shown = ", ".join(_figure(name, figures[name]) for name in FIGURES if name in figures)
    return (
        f"epoch {record['epoch']}: train loss {record['train_loss']:.4f}, validation {shown}, "
        f"{duration(record['epoch_seconds'])}"
    )


def _figure(name: str, value: float) -> str:
    if name == "perplexity":
        return f"{name} {perplexity_text(value, FIGURES[name])}"
    return f"{name} {value:{FIGURES[name]}}"


def describe(run: RunFolder) -> list[str]:
    """The effective configuration, a line a section, and a line a parameter group."""
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
