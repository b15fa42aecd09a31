"""Performance profiles over tasks: who reaches the targets of all of them cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.comparing import common_metric
from arsbench.analysis.contenders import by_contender, distinct, suite_baseline
from arsbench.analysis.cost import Profile, baseline_target, cost_to_target, performance_profile
from arsbench.analysis.runs import COMPLETE, Run
from arsbench.analysis.wording import listed
from arsbench.errors import UserError
from arsbench.metrics import Metric


@dataclass(frozen=True)
class Problem:
    """A task with a seed: to bring the metric to the target.

    Attributes:
        task: with its label.
        runs: of each contender.
    """

    task: str
    seed: int
    metric: Metric
    target: float
    runs: dict[str, Run]

    def cost(self, contender: str, budget: str) -> float | None:
        """What the contender spent; infinity where it did not solve it, None where its run does not tell."""
        return cost_to_target(self.runs[contender], self.metric, self.target, budget)


def problems(runs: Sequence[Run], baseline: str | None = None) -> list[Problem]:
    """The problems that contenders of several tasks have in common: each task's seeds that all completed.

    Args:
        runs: as `load` gives them, of any tasks.
        baseline: whose best is a task's target (see `baseline_target`); by default a suite's own, or else the
            contender of the task's first run.

    Raises:
        UserError: a task has no runs of the baseline, or no seed that all completed, or fewer than two
            contenders are in every task.
    """
    by_task: dict[str, list[Run]] = {}
    for run in runs:
        by_task.setdefault(run.task, []).append(run)
    tasks = {task: distinct(own) for task, own in by_task.items()}
    names = [set(by_contender(own)) for own in tasks.values()]
    common = [name for name in by_contender(next(iter(tasks.values()), [])) if all(name in n for n in names)]
    if len(common) < 2:
        raise UserError(
            f"the {len(tasks)} tasks have {', '.join(common) or 'no contender'} in common; a profile needs "
            f"two contenders at least that are, by the same names, in every task"
        )
    return [
        problem
        for task, own in tasks.items()
        for problem in _of_task(task, own, common, baseline or suite_baseline(own) or own[0].contender)
    ]


def profiles(found: Sequence[Problem], budget: str) -> dict[str, Profile] | None:
    """Every contender's profile by one budget; None where a run does not tell it, or tells no time at all.

    Args:
        found: as of `problems`, one at least.
        budget: "steps", "passes" or "seconds".
    """
    costs = {name: [problem.cost(name, budget) for problem in found] for name in found[0].runs}
    told = {name: [c for c in own if c is not None and c > 0] for name, own in costs.items()}
    if any(len(told[name]) < len(found) for name in costs):
        return None
    return performance_profile(told)


def _of_task(task: str, runs: Sequence[Run], contenders: Sequence[str], baseline: str) -> list[Problem]:
    metric = common_metric(runs)
    target = baseline_target(runs, metric, baseline)
    complete = {
        (run.contender, run.seed): run for run in runs if run.state in COMPLETE and run.seed is not None
    }
    seeds = sorted(
        seed
        for seed in {seed for _, seed in complete}
        if all((name, seed) in complete for name in contenders)
    )
    if not seeds:
        raise UserError(
            f"{task} has no seed that all of {listed(contenders)} have a complete run of; leave out a "
            f"contender or the task, or run what is missing"
        )
    return [
        Problem(task, seed, metric, target, {name: complete[name, seed] for name in contenders})
        for seed in seeds
    ]
