"""The processes of a suite: a limited number at a time, until all jobs are done or Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from arsbench.errors import INTERRUPTED
from arsbench.suite.folder import SuiteFolder

POLL_S = 0.05
PROGRESS_S = 1.0

# Read by the libraries that torch may be built on.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Job:
    """The work of one process.

    Attributes:
        name: unique among the suite's jobs.
        module: run with the suite's folder, the name, the number of threads and `options` as JSON.
        options: arguments of the work (see `worker.run_job`).
        fraction: returns the fraction that is done, 0 to 1; None if unknown.
        outcome: returns what to add to the message that the job is done.
    """

    name: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    fraction: Callable[[], float | None] = lambda: None
    outcome: Callable[[], str] = lambda: ""


@dataclass(frozen=True)
class Snapshot:
    """The state of all jobs of a kind at one moment.

    Attributes:
        title: the kind, "trials" or "runs".
        total, done, failed, waiting: numbers of jobs.
        running: name and fraction done (None if unknown) of each running job.
    """

    title: str
    total: int
    done: int
    failed: int
    waiting: int
    running: tuple[tuple[str, float | None], ...]


class SuiteObserver(Protocol):
    """Receives the events of a running suite."""

    def message(self, text: str) -> None:
        """Show a message."""

    def progress(self, snapshot: Snapshot) -> None:
        """Show the progress; called about once a second."""


@dataclass
class _Worker:
    job: Job
    process: subprocess.Popen
    started: float = field(default_factory=time.monotonic)


@dataclass
class Pool:
    """Runs jobs of a suite, each in a process of its own.

    Attributes:
        folder: the suite's folder.
        workers: number of processes at a time.
        threads: threads per process.
        lock: descriptor of the folder's lock. The processes inherit it: if this process is killed, the folder
            stays locked until they have noticed.
        observer: receives messages and progress.
        interrupted: whether Ctrl-C ended it.
    """

    folder: SuiteFolder
    workers: int
    threads: int
    lock: int
    observer: SuiteObserver
    interrupted: bool = field(default=False, init=False)

    def run(self, title: str, jobs: Sequence[Job], done: int) -> None:
        """Run jobs in their order; one that fails is recorded as a failure and does not stop the others.

        The progress shows their kind as `title`, and `done` jobs of the kind as done before.
        """
        total, failed = len(jobs) + done, 0
        waiting, active = list(jobs), []
        reported, stopping = 0.0, False
        with self._listening(active):
            try:
                while active or (waiting and not self.interrupted):
                    while waiting and len(active) < self.workers and not self.interrupted:
                        active.append(self._start(waiting.pop(0)))
                    if self.interrupted and not stopping:  # also workers that started at that very moment
                        stopping = True
                        self.observer.message("stopping: every run finishes its step and saves ...")
                        for worker in active:
                            worker.process.send_signal(signal.SIGINT)
                    time.sleep(POLL_S)
                    for worker in [worker for worker in active if worker.process.poll() is not None]:
                        active.remove(worker)
                        state = self._ended(worker)
                        done += state == "done"
                        failed += state == "failed"
                    if time.monotonic() - reported >= PROGRESS_S or not active:
                        reported = time.monotonic()
                        running = tuple((worker.job.name, worker.job.fraction()) for worker in active)
                        self.observer.progress(Snapshot(title, total, done, failed, len(waiting), running))
            finally:
                for worker in active:  # only if an error in this process ended the loop
                    worker.process.stdin.close()

    def _start(self, job: Job) -> _Worker:
        self.folder.forget_failure(job.name)
        log = self.folder.log(job.name)
        log.parent.mkdir(exist_ok=True)
        arguments = [str(self.folder.path), job.name, str(self.threads), json.dumps(job.options)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", job.module, *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict.fromkeys(_THREAD_VARIABLES, str(self.threads)),
                pass_fds=(self.lock,),
                # Only this process passes Ctrl-C on: a second SIGINT would end the worker in mid-step.
                start_new_session=True,
            )
        self.observer.message(f"{job.name}: started")
        return _Worker(job, process)

    def _ended(self, worker: _Worker) -> str:
        """Record and report how a worker ended: "done", "stopped" or "failed"."""
        name, code = worker.job.name, worker.process.returncode
        worker.process.stdin.close()
        if code == 0:
            seconds = time.monotonic() - worker.started
            self.observer.message(f"{name}: done in {seconds:,.0f} s{worker.job.outcome()}")
            return "done"
        if code == INTERRUPTED or self.interrupted:
            self.observer.message(f"{name}: stopped")
            return "stopped"
        if name not in self.folder.failures():
            message = f"{how_it_ended(code)}; see {self.folder.log(name)}"
            self.folder.record_failure(name, message, code)
        self.observer.message(f"{name}: failed: {self.folder.failures()[name]}")
        return "failed"

    @contextlib.contextmanager
    def _listening(self, active: list[_Worker]) -> Iterator[None]:
        """Inside the block Ctrl-C is passed on to the workers, which finish their step and save."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(signum: int, frame: object) -> None:
            if self.interrupted:  # a second Ctrl-C stops at once
                for worker in active:
                    worker.process.send_signal(signal.SIGINT)
            self.interrupted = True  # the loop passes the first one on

        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def how_it_ended(code: int) -> str:
    """How a process that left no message ended."""
    if code < 0:
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{hint}"
    return f"its process ended with exit code {code}"


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
