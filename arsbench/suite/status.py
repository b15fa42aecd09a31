"""Where a suite stands, from its folder alone; also while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arsbench import analysis
from arsbench.runs.lock import is_locked
from arsbench.suite.folder import SuiteFolder
from arsbench.suite.progress import recorded_step


def suite_status(path: Path) -> dict[str, Any]:
    """The state of every run of a suite.

    Returns:
        plain JSON types: "name", "task", "baseline", "at_work" (whether a process runs it at the moment),
        "tuning" (as in the plan), "trials_begun" (by contender), "failures" (messages by run or trial), and
        "runs": for each its "name", "contender", "seed", "state" ("waiting", "running", "interrupted",
        "finished", "non_finite" or "failed"), "diverged_at" (a step, or None), "epoch", "step", the "steps"
        it will have, the deciding "metric" and its last "value" (None before the first evaluation; of a run
        that diverged, the last before that), and a "message".

    Raises:
        UserError: there is no suite, or a file of it is damaged.
    """
    folder = SuiteFolder.open(path)
    suite, at_work = folder.suite, is_locked(folder.path)
    steps = {run.name: run.steps for run in folder.runs}
    return {
        "name": suite.name,
        "task": suite.task,
        "baseline": suite.baseline,
        "at_work": at_work,
        "tuning": folder.tuning,
        "trials_begun": {one.name: len(list(folder.trials(one).glob("trial-*"))) for one in suite.contenders},
        "failures": folder.failures(),
        "runs": [_run(run, steps[run.name], at_work) for run in analysis.load([path])],
    }


def _run(run: analysis.Run, steps: int, at_work: bool) -> dict[str, Any]:
    metrics = run.metrics()
    history = run.history(metrics[0]) if metrics else []
    return {
        "name": run.name,
        "contender": run.contender,
        "seed": run.seed,
        "state": "interrupted" if run.state == "running" and not at_work else run.state,
        "diverged_at": run.diverged_at,
        "epoch": run.epochs[-1]["epoch"] if run.epochs else 0,
        "step": max(recorded_step(run.source), run.epochs[-1]["step"] if run.epochs else 0),
        "steps": steps,
        "metric": metrics[0].name if metrics else None,
        "value": history[-1].value if history else None,
        "message": run.message,
    }
