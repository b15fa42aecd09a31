"""How far the jobs of a suite are, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from arsbench.documents import parse_json
from arsbench.runs.checks import STEP

_TAIL = 1 << 14


@dataclass(frozen=True)
class Job:
    """What one worker process does.

    Attributes:
        name: unique among the suite's jobs.
        group: jobs of one group take about equally long; the contender.
        module: run with the suite's folder, the name and `arguments`.
        arguments: further ones.
        fraction: how much of it is done, 0 to 1; None where that cannot be told.
        outcome: what to add to the line that tells of its end.
    """

    name: str
    group: str
    module: str
    arguments: tuple[str, ...] = ()
    fraction: Callable[[], float | None] = lambda: None
    outcome: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Snapshot:
    """The state of all jobs of a kind at a moment.

    Attributes:
        title: of the kind.
        total, done, failed, waiting: numbers of jobs.
        running: name and done fraction (None where unknown) of those that run.
        elapsed: seconds since they began.
        remaining: estimated seconds to the end of all; None where nothing is known yet.
    """

    title: str
    total: int
    done: int
    failed: int
    waiting: int
    running: tuple[tuple[str, float | None], ...]
    elapsed: float
    remaining: float | None


class SuiteObserver(Protocol):
    """Receives what happens while a suite runs."""

    def message(self, text: str) -> None:
        """Something happened."""

    def progress(self, snapshot: Snapshot) -> None:
        """About once a second."""


class Progress:
    """Counts jobs and estimates what is left from those that have run.

    Args:
        title: what the jobs are.
        jobs: all that are to run.
        done: of the same kind, before.
        workers: how many run at a time.
    """

    def __init__(self, title: str, jobs: Sequence[Job], done: int, workers: int) -> None:
        self._title, self._workers = title, workers
        self._total, self._done = len(jobs) + done, done
        self._waiting = list(jobs)
        self._running: dict[Job, tuple[float, float]] = {}  # when it began, and at what fraction
        self._failed = 0
        self._seconds: dict[str, list[float]] = {}  # of whole jobs, by group
        self._began = time.monotonic()

    def started(self, job: Job) -> None:
        """A job begins, or goes on."""
        self._waiting.remove(job)
        self._running[job] = time.monotonic(), job.fraction() or 0.0

    def ended(self, job: Job, *, failed: bool, stopped: bool) -> None:
        """A job is done, or failed, or was stopped."""
        began, at = self._running.pop(job)
        if not (failed or stopped):
            self._done += 1
            if at < 1:
                seconds = (time.monotonic() - began) / (1 - at)
                self._seconds.setdefault(job.group, []).append(seconds)
        self._failed += failed

    def snapshot(self) -> Snapshot:
        """How things are now."""
        fractions = {job: job.fraction() for job in self._running}
        return Snapshot(
            title=self._title,
            total=self._total,
            done=self._done,
            failed=self._failed,
            waiting=len(self._waiting),
            running=tuple((job.name, fraction) for job, fraction in fractions.items()),
            elapsed=time.monotonic() - self._began,
            remaining=self._remaining(fractions),
        )

    def _remaining(self, fractions: dict[Job, float | None]) -> float | None:
        seconds = {group: list(known) for group, known in self._seconds.items()}
        for job, (began, at) in self._running.items():
            gained = (fractions[job] or 0.0) - at
            if gained > 0.02:
                seconds.setdefault(job.group, []).append((time.monotonic() - began) / gained)
        if not seconds:
            return None
        means = {group: sum(known) / len(known) for group, known in seconds.items()}
        overall = sum(means.values()) / len(means)
        running = [(1 - (fractions[job] or 0.0)) * means.get(job.group, overall) for job in self._running]
        waiting = [means.get(job.group, overall) for job in self._waiting]
        return max([(sum(running) + sum(waiting)) / self._workers, *running])


def recorded_step(run: Path) -> int:
    """The last step that a run has recorded, 0 for none; cheap, however long the run."""
    try:
        with (run / "steps.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL))
            *lines, _torn = file.read().split(b"\n")
        record = parse_json(lines[-1])
    except (OSError, IndexError, ValueError):
        return 0
    return record["step"] if STEP(record, "") is None else 0
