"""Running a suite: preparation, plan, tuning, comparison."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arsbench.analysis.plans import PLAN_FILE
from arsbench.errors import UserError
from arsbench.files import abandoned_temporaries
from arsbench.runs.lock import LOCK, claimed
from arsbench.suite import tuning
from arsbench.suite.file import Suite, check_suite, suite_from_dict
from arsbench.suite.folder import PlannedRun, SuiteFolder
from arsbench.suite.processes import Job, Pool, SuiteObserver, available_cores, how_it_ended


@dataclass(frozen=True)
class SuiteOutcome:
    """The state in which `run_suite` leaves a suite.

    Attributes:
        done, total: number of runs that are done, and of all runs.
        diverged: names of the runs that diverged, whether or not the loss stayed finite; counted in `done`.
        failures: messages by the name of the failed run or trial.
        interrupted: whether Ctrl-C ended it.
    """

    done: int
    total: int
    diverged: tuple[str, ...]
    failures: dict[str, str]
    interrupted: bool


def run_suite(
    suite: Suite,
    path: Path,
    *,
    observer: SuiteObserver,
    workers: int | None = None,
    threads: int | None = None,
) -> SuiteOutcome:
    """Run a suite, or resume it: finished runs are kept, stopped runs continue.

    Args:
        suite: what to run.
        path: the suite's folder; new, empty, or one in which the same suite was begun.
        observer: receives messages and progress.
        workers: number of processes at a time; None for the cores divided by `threads`, and 1 on a GPU.
        threads: threads per process; None for the suite's first value, or 1.

    Raises:
        UserError: the suite, its data or its folder do not allow it; nothing has been run then.
    """
    if suite.tuning is not None:
        tuning.require_optuna()
    made = not path.exists()
    if not (path / PLAN_FILE).exists():  # the version that began a suite has checked it
        check_suite(suite)
    if path.is_dir() and not (path / PLAN_FILE).exists():
        _check_vacant(path)  # before a lock file is made in a folder of something else
    with claimed(path, PLAN_FILE, made=made) as lock:
        folder = SuiteFolder(path)
        begun = (path / PLAN_FILE).exists()
        if begun:
            folder = SuiteFolder.open(path)
            folder.check_continues(suite, threads)
            suite = suite_from_dict(suite.content, suite.base, folder.suite.task)
            threads = folder.threads
            if _is_finished(suite, folder):
                return _outcome(folder, interrupted=False)
        else:
            _check_vacant(path)
        threads = threads or 1
        observer.message("preparing the data and checking every optimizer ...")
        facts = _prepare(suite, threads)
        steps = {name: run["steps"] for name, run in facts["runs"].items()}
        folder.plan(suite, steps, threads, folder.tuning if begun else None)
        if workers is None:
            workers = 1 if facts["device"] == "cuda" else max(1, available_cores() // threads)
        pool = Pool(folder, workers, threads, lock, observer)
        epochs = {name: trial["epochs"] for name, trial in facts["trials"].items()}
        tuned = suite.tuning is None or tuning.tune(suite, folder, pool, epochs, observer)
        if tuned and not pool.interrupted:
            missing = [run for run in folder.runs if not run.is_done]
            pool.run("runs", [_job(run) for run in missing], len(folder.runs) - len(missing))
        return _outcome(folder, pool.interrupted)


def _check_vacant(path: Path) -> None:
    """Refuse a folder that holds neither a suite nor the remains of a killed start."""
    left = {path / LOCK, *abandoned_temporaries(path, [PLAN_FILE])}
    if any(entry not in left for entry in path.iterdir()):
        raise UserError(f"{path} is not empty and is not a suite folder; choose another folder with --out")


def _is_finished(suite: Suite, folder: SuiteFolder) -> bool:
    """Whether the folder has nothing left to do of the suite."""
    seeds = {run.config.experiment.seed for run in folder.runs}
    tuned = suite.tuning is None or folder.tuning is not None
    return tuned and seeds == set(suite.seeds) and all(run.is_done for run in folder.runs)


def _prepare(suite: Suite, threads: int) -> dict[str, Any]:
    """The result of `arsbench.suite.prepare` in a process of its own; its failure is a UserError."""
    configs: dict[str, dict[str, Any]] = {"runs": {}, "trials": {}}
    for contender in suite.contenders:
        first = {key: parameter.bounds()[0] for key, parameter in contender.search.items()}
        configs["runs"][contender.name] = contender.config(suite.seeds[0], first).given
        if suite.tuning is not None:
            config = contender.config(suite.tuning.seeds[0], first, suite.tuning.changes)
            configs["trials"][contender.name] = config.given
    done = subprocess.run(
        [sys.executable, "-m", "arsbench.suite.prepare"],
        input=json.dumps(configs),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    *_, last = done.stderr.strip().splitlines() or [""]
    if done.returncode == 2 and last:
        raise UserError(last)
    reason = last if done.returncode > 0 and last else how_it_ended(done.returncode)
    raise UserError(f"the preparation failed: {reason}")


def _job(run: PlannedRun) -> Job:
    return Job(
        run.name,
        "arsbench.suite.worker",
        fraction=lambda: min(1.0, run.step / run.steps),
        outcome=lambda: run.divergence and f", {run.divergence}",
    )


def _outcome(folder: SuiteFolder, interrupted: bool) -> SuiteOutcome:
    runs = folder.runs
    done = [run for run in runs if run.is_done]
    for run in done:  # its process may have failed after the run was finished
        folder.forget_failure(run.name)
    diverged = tuple(run.name for run in done if run.divergence)
    return SuiteOutcome(len(done), len(runs), diverged, folder.failures(), interrupted)
