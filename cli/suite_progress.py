"""What a person sees while a suite runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import IO, TYPE_CHECKING, Any

import click

from .progress import duration

if TYPE_CHECKING:
    from arsbench.suite import Snapshot

LINE_INTERVAL_S = 30.0


def create_observer(stream: IO[str]) -> contextlib.AbstractContextManager[Any]:
    """An observer of a suite (see `arsbench.suite.SuiteObserver`) that suits `stream`."""
    return BarsObserver() if stream.isatty() else LinesObserver()


class LinesObserver(contextlib.nullcontext):
    """Lines: one whenever a run begins or ends, one on all of them every half minute."""

    def __init__(self) -> None:
        super().__init__(self)
        self._last_line = time.monotonic()

    def message(self, text: str) -> None:
        click.echo(text)

    def progress(self, snapshot: Snapshot) -> None:
        if time.monotonic() - self._last_line >= LINE_INTERVAL_S:
            self._last_line = time.monotonic()
            self.message(f"{snapshot.title}: {summary(snapshot)}")


class BarsObserver(LinesObserver):
    """A bar for all runs and one for each that runs, with the messages above them."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(highlight=False),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> BarsObserver:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def message(self, text: str) -> None:
        self._bars.console.print(text, markup=False)

    def progress(self, snapshot: Snapshot) -> None:
        parts = sum(fraction or 0.0 for _, fraction in snapshot.running)
        shown = {snapshot.title: ((snapshot.done + parts) / snapshot.total, summary(snapshot))}
        for name, fraction in snapshot.running:
            shown[f"  {name}"] = (fraction, "" if fraction is None else f"{fraction:.0%}")
        for name in set(self._tasks) - set(shown):
            self._bars.remove_task(self._tasks.pop(name))
        for name, (fraction, figures) in shown.items():
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=None, figures="")
            total = None if fraction is None else 1.0
            self._bars.update(self._tasks[name], total=total, completed=fraction or 0.0, figures=figures)


def summary(snapshot: Snapshot) -> str:
    """How many are where, and for how long yet."""
    counts = [
        f"{snapshot.done} of {snapshot.total} done",
        f"{len(snapshot.running)} running",
        f"{snapshot.waiting} waiting",
        *([f"{snapshot.failed} failed"] if snapshot.failed else []),
        f"{duration(snapshot.elapsed)} elapsed",
        *([] if snapshot.remaining is None else [f"about {duration(snapshot.remaining)} left"]),
    ]
    return ", ".join(counts)
