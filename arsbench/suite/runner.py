"""From a suite to its finished runs: plan, tuning, comparison."""

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
from arsbench.suite.definition import Suite, check_suite
from arsbench.suite.folder import PlannedRun, SuiteFolder
from arsbench.suite.pool import Pool, available_cores, how_it_ended
from arsbench.suite.progress import Job, SuiteObserver, recorded_step


@dataclass(frozen=True)
class Outcome:
    """What became of a suite.

    Attributes:
        path: its folder.
        done, total: runs at their end, and all.
        diverged: names of the runs that diverged, with finite numbers or others; they are among `done`.
        failures: messages by the name of the run or trial that failed.
        interrupted: whether Ctrl-C ended it.
    """

    path: Path
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
) -> Outcome:
    """Run a suite, or resume it: what is finished is kept, what was stopped continues where it was.

    Args:
        suite: what to run.
        path: its folder; new, empty, or one in which the same suite was begun.
        observer: told of what happens.
        workers: processes at a time; None for as many as there are cores for, and one on a GPU.
        threads: of each process; None for as many as the suite was begun with, or one.

    Raises:
        UserError: the suite, its data or its folder do not allow it; nothing has then been run.
    """
    if suite.tuning is not None:
        tuning.require_optuna()
    made = not path.exists()
    if not (path / PLAN_FILE).exists():  # a plan's own suite was checked by the version that began it
        check_suite(suite)
    if path.is_dir() and not (path / PLAN_FILE).exists():
        _check_vacant(path)  # before the lock's file is made in what may be somebody else's folder
    with claimed(path, PLAN_FILE, made=made) as lock:
        folder = SuiteFolder(path)
        begun = (path / PLAN_FILE).exists()
        if begun:
            folder = SuiteFolder.open(path)
            folder.check_continues(suite, threads)
            _forgive(folder)
            if _is_over(suite, folder):
                return _outcome(folder, False)
            threads = folder.threads
        else:
            _check_vacant(path)
        threads = threads or 1
        observer.message("preparing the data and trying every optimizer ...")
        facts = _prepare(suite, threads)
        folder.plan(suite, facts["steps"], threads, folder.tuning if begun else None)
        if workers is None:
            workers = 1 if facts["device"] == "cuda" else max(1, available_cores() // threads)
        pool = Pool(folder, workers, threads, lock, observer)
        tuned = suite.tuning is None or tuning.tune(suite, folder, pool, facts["evaluations"], observer)
        if tuned and not pool.interrupted:
            missing = [run for run in folder.runs if not run.is_done]
            pool.run("runs", [_job(run) for run in missing], len(folder.runs) - len(missing))
        _forgive(folder)
        return _outcome(folder, pool.interrupted)


def _check_vacant(path: Path) -> None:
    """Refuse a folder without a suite that holds anything but what a killed start of a suite leaves.

    Raises:
        UserError: it does.
    """
    left = {path / LOCK, *abandoned_temporaries(path, [PLAN_FILE])}
    if any(entry not in left for entry in path.iterdir()):
        raise UserError(f"{path} is not empty and holds no suite; choose another folder with --out")


def _is_over(suite: Suite, folder: SuiteFolder) -> bool:
    """Whether nothing is left to do in a folder that this suite was begun in."""
    seeds = {run.config.experiment.seed for run in folder.runs}
    tuned = suite.tuning is None or folder.tuning is not None
    return tuned and seeds == set(suite.seeds) and all(run.is_done for run in folder.runs)


def _forgive(folder: SuiteFolder) -> None:
    """Forget the failure of a process whose run is finished."""
    for run in folder.runs:
        if run.is_done:
            folder.forget_failure(run.name)


def _prepare(suite: Suite, threads: int) -> dict[str, Any]:
    """Read, tokenize and cache all data once, and make every contender's optimizer, in another process.

    Returns:
        by contender, "steps" of a run and "evaluations" of a trial, and the "device".
    """
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
    if done.returncode != 0:
        *_, last = done.stderr.strip().splitlines() or [""]
        if done.returncode == 2 and last:
            raise UserError(last)
        reason = last if done.returncode > 0 and last else how_it_ended(done.returncode)
        raise UserError(f"the preparation failed: {reason}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "device": found["device"],
        "steps": {name: run["steps"] for name, run in found["runs"].items()},
        "evaluations": {
            name: trial["epochs"] * len(suite.tuning.seeds) for name, trial in found["trials"].items()
        },
    }


def _job(run: PlannedRun) -> Job:
    def outcome() -> str:
        return f", {run.divergence}" if run.divergence else ""

    return Job(
        run.name,
        run.contender,
        "arsbench.suite.worker",
        fraction=lambda: min(1.0, recorded_step(run.path) / run.steps),
        outcome=outcome,
    )


def _outcome(folder: SuiteFolder, interrupted: bool) -> Outcome:
    runs = folder.runs
    return Outcome(
        path=folder.path,
        done=sum(run.is_done for run in runs),
        total=len(runs),
        diverged=tuple(run.name for run in runs if run.is_done and run.divergence),
        failures=folder.failures(),
        interrupted=interrupted,
    )
