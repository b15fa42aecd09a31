"""Worker processes, so many at a time, until all jobs are done or Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from arsbench.suite.folder import SuiteFolder
from arsbench.suite.progress import Job, Progress, SuiteObserver

POLL_S = 0.05
PROGRESS_S = 1.0

# What a shell reports of a program that SIGINT ended.
INTERRUPTED = 130

# Of the libraries that may be below torch.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass
class _Worker:
    job: Job
    process: subprocess.Popen
    started: float = field(default_factory=time.monotonic)


class Pool:
    """Runs jobs of a suite in processes of their own.

    Args:
        folder: the suite's.
        workers: processes at a time.
        threads: of each.
        lock: descriptor of the folder's lock, which the processes inherit: should this one be killed, the
            folder stays locked until they have noticed.
        observer: told of what happens.

    Attributes:
        interrupted: whether Ctrl-C has ended it.
    """

    def __init__(
        self, folder: SuiteFolder, workers: int, threads: int, lock: int, observer: SuiteObserver
    ) -> None:
        self.folder = folder
        self.workers = workers
        self.threads = threads
        self.interrupted = False
        self._lock = lock
        self._observer = observer

    def run(self, title: str, jobs: Sequence[Job], done: int) -> None:
        """Run jobs; one that fails is recorded as a failure, and the rest goes on.

        Args:
            title: what they are, for the progress.
            jobs: in their order.
            done: how many of the kind were done before.
        """
        progress = Progress(title, jobs, done, self.workers)
        waiting, active = list(jobs), []
        reported, stopping = 0.0, False
        with self._listening(active):
            try:
                while active or (waiting and not self.interrupted):
                    while waiting and len(active) < self.workers and not self.interrupted:
                        active.append(self._start(waiting.pop(0), progress))
                    if self.interrupted and not stopping:  # also those that started at that very moment
                        stopping = True
                        self._observer.message("stopping: every run finishes its step and saves ...")
                        for worker in active:
                            worker.process.send_signal(signal.SIGINT)
                    time.sleep(POLL_S)
                    for worker in [worker for worker in active if worker.process.poll() is not None]:
                        active.remove(worker)
                        self._ended(worker, progress)
                    if time.monotonic() - reported >= PROGRESS_S or not active:
                        reported = time.monotonic()
                        self._observer.progress(progress.snapshot())
            finally:
                for worker in active:  # only where an error of this process ended the loop
                    worker.process.stdin.close()

    def _start(self, job: Job, progress: Progress) -> _Worker:
        self.folder.forget_failure(job.name)
        log = self.folder.log(job.name)
        log.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", job.module, str(self.folder.path), job.name, *job.arguments]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*command, "--threads", str(self.threads)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | dict.fromkeys(_THREAD_VARIABLES, str(self.threads)),
                pass_fds=(self._lock,),
                # Ctrl-C reaches it through this process alone: a second SIGINT would end it in mid-step.
                start_new_session=True,
            )
        progress.started(job)
        self._observer.message(f"{job.name}: started")
        return _Worker(job, process)

    def _ended(self, worker: _Worker, progress: Progress) -> None:
        name, code = worker.job.name, worker.process.returncode
        worker.process.stdin.close()
        stopped = code == INTERRUPTED or (self.interrupted and code != 0)
        failed = code != 0 and not stopped
        if failed and self.folder.failure(name) is None:
            message = f"{how_it_ended(code)}; {self.folder.log(name)} may tell more"
            self.folder.record_failure(name, message, code)
        progress.ended(worker.job, failed=failed, stopped=stopped)
        if failed:
            self._observer.message(f"{name}: failed: {self.folder.failure(name)['message']}")
        elif stopped:
            self._observer.message(f"{name}: stopped")
        else:
            seconds = time.monotonic() - worker.started
            self._observer.message(f"{name}: done in {seconds:,.0f} s{worker.job.outcome()}")

    @contextlib.contextmanager
    def _listening(self, active: list[_Worker]) -> Iterator[None]:
        """Inside the block Ctrl-C is passed on to the workers, which finish their step and save."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(signum: int, frame: object) -> None:
            if self.interrupted:  # again: at once
                for worker in active:
                    worker.process.send_signal(signal.SIGINT)
            self.interrupted = True  # the loop tells the workers

        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def how_it_ended(code: int) -> str:
    """How a process ended that left no message."""
    if code < 0:
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return f"its process was ended by {signal.Signals(-code).name}{hint}"
    return f"its process ended with exit code {code}"


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
