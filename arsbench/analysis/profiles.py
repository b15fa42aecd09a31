"""Performance profiles over the problems of several tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arsbench.analysis.comparing import choose_metric
from arsbench.analysis.contenders import by_contender, choose_baseline, distinct, suite_baseline
from arsbench.analysis.results import baseline_target, cost_to_target
from arsbench.analysis.runs import ENDED, Run
from arsbench.analysis.wording import by_value, listed
from arsbench.errors import UserError
from arsbench.metrics import Metric


@dataclass(frozen=True)
class Problem:
    """A task with a seed: reach the target with the metric.

    Attributes:
        task: with its label.
        runs: by contender.
    """

    task: str
    seed: int
    metric: Metric
    target: float
    runs: dict[str, Run]

    def cost(self, contender: str, budget: str) -> float | None:
        """What the contender spent; infinity where it did not reach the target, None where it has no data."""
        return cost_to_target(self.runs[contender], self.metric, self.target, budget)


@dataclass(frozen=True)
class Profile:
    """A performance profile: a step function of the cost ratio, from `shares[0]` at 1.

    Attributes:
        ratios: to the cheapest contender's cost, ascending, 1 first.
        shares: the share of problems solved within that ratio, 0 to 1.
    """

    ratios: tuple[float, ...]
    shares: tuple[float, ...]

    def share(self, ratio: float) -> float:
        """The share of problems solved within `ratio` times the cheapest contender's cost."""
        return max((s for r, s in zip(self.ratios, self.shares, strict=True) if r <= ratio), default=0.0)


def problems(runs: Sequence[Run], baseline: str | None = None) -> list[Problem]:
    """The problems of several tasks: each task's seeds for which every contender has a run that ended.

    Args:
        runs: as `load` returns them, of any tasks.
        baseline: the contender whose best value is a task's target (see `baseline_target`); by default the
            suite's, or else the contender of the task's first run.

    Raises:
        UserError: a task has no runs of the baseline or no common seed, or fewer than two contenders are in
            every task.
    """
    tasks = {task: distinct(members) for task, members in by_value(runs, lambda run: run.task)}
    names = [by_contender(members).keys() for members in tasks.values()]
    common = [name for name in (names or [()])[0] if all(name in others for others in names)]
    if len(common) < 2:
        raise UserError(
            f"the contenders in every task are {', '.join(common) or 'none'}; a profile needs at least two, "
            f"with the same names in every task"
        )
    return [
        problem
        for task, members in tasks.items()
        for problem in _of_task(
            task, members, common, choose_baseline(members, baseline or suite_baseline(members))
        )
    ]


def profiles(problems: Sequence[Problem], budget: str) -> dict[str, Profile] | None:
    """Every contender's profile at one budget; None where a run has no data for it, or took no time at all.

    Args:
        problems: at least one.
        budget: "steps", "passes" or "seconds".
    """
    costs = {name: [problem.cost(name, budget) for problem in problems] for name in problems[0].runs}
    if not all(cost is not None and cost > 0 for column in costs.values() for cost in column):
        return None
    return performance_profile(costs)


def performance_profile(costs: Mapping[str, Sequence[float]]) -> dict[str, Profile]:
    """Performance profiles (Dolan and Moré, "Benchmarking optimization software", 2002, section 2).

    Args:
        costs: by contender, its cost of each problem, in the same order; infinity where it failed.

    Raises:
        ValueError: the contenders have different numbers of problems, or none, or a cost is not above 0.
    """
    problems = {len(column) for column in costs.values()}
    if len(problems) != 1 or 0 in problems:
        raise ValueError("every contender needs a cost of every problem")
    if not all(cost > 0 for column in costs.values() for cost in column):  # also refuses NaN
        raise ValueError("a cost must be above 0, or infinite")
    cheapest = [min(row) for row in zip(*costs.values(), strict=True)]
    profiles = {}
    for contender, column in costs.items():
        ratios = sorted(c / least for c, least in zip(column, cheapest, strict=True) if math.isfinite(c))
        steps = sorted({1.0, *ratios})
        shares = tuple(sum(r <= step for r in ratios) / len(column) for step in steps)
        profiles[contender] = Profile(tuple(steps), shares)
    return profiles


def _of_task(task: str, runs: Sequence[Run], contenders: Sequence[str], baseline: str) -> list[Problem]:
    metric = choose_metric(runs)
    target = baseline_target(runs, metric, baseline)
    complete = {(run.contender, run.seed): run for run in runs if run.state in ENDED and run.seed is not None}
    seeds = sorted(
        seed for seed in {s for _, s in complete} if all((name, seed) in complete for name in contenders)
    )
    if not seeds:
        raise UserError(
            f"{task} has no seed for which all of {listed(contenders)} have a finished run; leave out a "
            f"contender or the task, or run what is missing"
        )
    return [
        Problem(task, seed, metric, target, {name: complete[name, seed] for name in contenders})
        for seed in seeds
    ]
