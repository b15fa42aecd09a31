"""One run of a suite, in a process of its own.

Exit codes: 0 finished or diverged, 1 and 2 failed, 130 stopped by SIGINT with its state saved.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from arsbench import report, training
from arsbench.analysis.runs import lost_status
from arsbench.config import Config
from arsbench.errors import INTERRUPTED, UserError
from arsbench.metrics import METRICS, task_name
from arsbench.runs.folder import RunFolder
from arsbench.runs.paths import STATUS, is_vacant
from arsbench.suite.folder import SuiteFolder


class LogObserver(training.Observer):
    """Writes training's events to standard output, which is the job's log."""

    def start(self, task: str, step: int, total_steps: int) -> None:
        self._metric = METRICS[task_name(task)][0]
        self.message(f"{task}: step {step} of {total_steps}")

    def epoch(self, record: dict[str, Any]) -> None:
        self.message(
            f"epoch {record['epoch']}, step {record['step']}: train loss {record['train_loss']:.4f}, "
            f"{self._metric.title} {self._metric.value(record):.4f}, {record['epoch_seconds']:.1f} s"
        )

    def message(self, text: str) -> None:
        print(text, flush=True)


def held_run(
    path: Path, config: Config, observer: training.Observer
) -> contextlib.AbstractContextManager[tuple[RunFolder, training.Trainer]]:
    """A run of the suite, resumed if it has begun (see `training.held_run`).

    Raises:
        UserError: the run's folder has lost its status.
    """
    if path.exists() and not is_vacant(path) and not (path / STATUS).is_file():
        raise UserError(lost_status(path))
    return training.held_run(path, config, observer, resume=True)


def run_job(work: Callable[..., int]) -> None:
    """The main function of a worker: do the work, record a failure, exit.

    The command line has the suite's folder, the job's name, the number of threads, and options as JSON.
    `work` takes the folder, the name and the options, and returns the exit code.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    directory, job, threads, options = sys.argv[1:]
    torch.set_num_threads(int(threads))
    folder = SuiteFolder(directory)
    print(f"process {os.getpid()}", flush=True)
    try:
        code = work(folder, job, **json.loads(options))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except UserError as error:
        print(f"Error: {error}", flush=True)
        folder.record_failure(job, str(error), 2)
        code = 2
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        folder.record_failure(job, training.describe_failure(error), 1)
        code = 1
    sys.exit(code)


def _stop_with_parent() -> None:
    """Interrupt this process once its parent has ended: standard input ends with the parent."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGINT)


def _work(folder: SuiteFolder, job: str) -> int:
    run = next(run for run in folder.runs if run.name == job)
    with held_run(run.path, run.config, LogObserver()) as (run_folder, trainer):
        if trainer.run(run_folder) == "interrupted":
            return INTERRUPTED
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # writing the report takes only a moment
        report.write(RunFolder.open(run.path))
    return 0


if __name__ == "__main__":
    run_job(_work)
