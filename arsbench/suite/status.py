"""The state of a suite, read from its folder; also while the suite runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arsbench import analysis
from arsbench.runs.lock import is_locked
from arsbench.suite.folder import PlannedRun, SuiteFolder


def suite_status(path: Path) -> dict[str, Any]:
    """The state of every run of a suite.

    Returns:
        plain JSON types: "name", "task", "baseline", "at_work" (whether a process runs the suite now),
        "tuning" (as in the plan), "trials_begun" (by contender), "failures" (messages by run or trial), and
        "runs": for each its "name", "contender", "seed", "state" ("waiting", "running", "interrupted",
        "finished", "non_finite" or "failed"), "diverged_at" (a step, or None), "epoch", "step", "steps" (of
        the whole run), the deciding "metric" and its last "value" (None before the first evaluation; for a
        run that diverged, the last value before), and a "message".

    Raises:
        UserError: there is no suite, or one of its files is damaged.
    """
    folder = SuiteFolder.open(path)
    suite, at_work = folder.suite, is_locked(folder.path)
    planned = {run.name: run for run in folder.runs}
    trials = {c.name: len(list(folder.trials(c).glob("trial-*"))) for c in suite.contenders}
    return {
        "name": suite.name,
        "task": suite.task,
        "baseline": suite.baseline,
        "at_work": at_work,
        "tuning": folder.tuning,
        "trials_begun": trials,
        "failures": folder.failures(),
        "runs": [_run(run, planned[run.name], at_work) for run in analysis.load([path])],
    }


def _run(run: analysis.Run, planned: PlannedRun, at_work: bool) -> dict[str, Any]:
    metrics = run.metrics()
    history = run.history(metrics[0]) if metrics else []
    return {
        "name": run.name,
        "contender": run.contender,
        "seed": run.seed,
        "state": "interrupted" if run.state == "running" and not at_work else run.state,
        "diverged_at": run.diverged_at,
        "epoch": run.epochs[-1]["epoch"] if run.epochs else 0,
        "step": max(planned.step, run.epochs[-1]["step"] if run.epochs else 0),
        "steps": planned.steps,
        "metric": metrics[0].name if metrics else None,
        "value": history[-1].value if history else None,
        "message": run.message,
    }
