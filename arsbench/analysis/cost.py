"""The cost of reaching a target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import counted
from arsbench.analysis.runs import BUDGETS, Run
from arsbench.errors import UserError
from arsbench.metrics import Metric, best_point, first_reaching


@dataclass(frozen=True)
class Cost:
    """What a contender spent to reach the target.

    Attributes:
        reached: the number of its runs that reached it.
        runs: the number of runs that count for it.
        medians: by budget, over these runs, infinite for a run that did not reach it; None where a run has
            no data.
    """

    contender: str
    reached: int
    runs: int
    medians: dict[str, float | None]


def cost_to_target(run: Run, metric: Metric, target: float, budget: str) -> float | None:
    """What a run had spent at its first evaluation that reached the target.

    Args:
        budget: "steps", "passes" or "seconds".

    Returns:
        infinity where no evaluation reached it; None where the run has no data for the budget.
    """
    point = first_reaching(run.history(metric), metric, target)
    return math.inf if point is None else point.spent(budget)


def baseline_target(runs: Sequence[Run], metric: Metric, baseline: str) -> float:
    """The default target: the median of the best values of the baseline's runs; of an even number the worse.

    At least half of the runs reach it, and it is a measured value. Unfinished runs count only where no run
    is finished; values that are not finite do not count.

    Raises:
        UserError: the baseline has no values.
    """
    members = counted([run for run in runs if run.contender == baseline])
    bests = (best_point(points, metric).value for run in members if (points := run.history(metric)))
    values = [value for value in bests if math.isfinite(value)]
    if not values:
        raise UserError(f"the baseline {baseline!r} has no values of {metric.title}; choose another")
    values.sort(key=cmp_to_key(lambda a, b: metric.better(b, a) - metric.better(a, b)))  # the best first
    return values[len(values) // 2]


def costs_of(runs: Sequence[Run], metric: Metric, target: float) -> list[Cost]:
    """What each contender spent to reach the target."""
    costs = []
    for contender, members in by_contender(runs).items():
        counting = counted(members)
        reached = sum(first_reaching(run.history(metric), metric, target) is not None for run in counting)
        medians: dict[str, float | None] = {}
        for budget in BUDGETS:
            spent = [cost_to_target(run, metric, target, budget) for run in counting]
            medians[budget] = None if None in spent else statistics.median(spent)
        costs.append(Cost(contender, reached, len(counting), medians))
    return costs
