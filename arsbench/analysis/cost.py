"""What a target cost, and performance profiles over many targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from arsbench.analysis.pairing import counted
from arsbench.analysis.runs import Run
from arsbench.errors import UserError
from arsbench.metrics import Metric, best_point, first_reaching


def cost_to_target(run: Run, metric: Metric, target: float, budget: str) -> float | None:
    """What a run had spent at the first evaluation whose metric was as good as a target.

    Args:
        budget: "steps", "passes" or "seconds".

    Returns:
        infinity where it never was; None where the run does not tell.
    """
    point = first_reaching(run.history(metric), metric, target)
    return math.inf if point is None else point.spent(budget)


def baseline_target(runs: Sequence[Run], metric: Metric, baseline: str) -> float:
    """The baseline's best as a target: of its runs' best values the median, of an even number the easier.

    So at least half of its own runs reach it, and it is a value that was measured. Runs that have not ended
    count only where none has, values that are not finite not at all.

    Raises:
        UserError: the baseline has no figure.
    """
    own = counted([run for run in runs if run.contender == baseline])
    bests = (best_point(points, metric).value for run in own if (points := run.history(metric)))
    values = [value for value in bests if math.isfinite(value)]
    if not values:
        raise UserError(f"the baseline {baseline!r} has no figures of {metric.title}; choose another")
    values.sort(key=cmp_to_key(lambda a, b: metric.better(b, a) - metric.better(a, b)))  # the best first
    return values[len(values) // 2]


@dataclass(frozen=True)
class Profile:
    """A performance profile: a step function that rises from `shares[0]` at 1.

    Attributes:
        ratios: to the cheapest contender's cost, ascending, 1 first.
        shares: of the problems that were solved at no more than that ratio, 0 to 1.
    """

    ratios: tuple[float, ...]
    shares: tuple[float, ...]

    def share(self, ratio: float) -> float:
        """Of the problems solved within `ratio` times the cheapest contender's cost."""
        return max((s for r, s in zip(self.ratios, self.shares, strict=True) if r <= ratio), default=0.0)


def performance_profile(costs: Mapping[str, Sequence[float]]) -> dict[str, Profile]:
    """Performance profiles (Dolan and Moré, "Benchmarking optimization software", 2002, section 2).

    Args:
        costs: for each contender its cost of every problem, in the same order; infinity where it failed.

    Raises:
        ValueError: the contenders have different numbers of problems, none, or a cost is not above 0.
    """
    problems = {len(own) for own in costs.values()}
    if len(problems) != 1 or 0 in problems:
        raise ValueError("every contender needs a cost of every problem")
    if not all(cost > 0 for own in costs.values() for cost in own):  # NaN is no cost either
        raise ValueError("a cost must be above 0, or infinite")
    cheapest = [min(column) for column in zip(*costs.values(), strict=True)]
    profiles = {}
    for contender, own in costs.items():
        ratios = sorted(c / least for c, least in zip(own, cheapest, strict=True) if math.isfinite(c))
        steps = sorted({1.0, *ratios})
        shares = tuple(sum(r <= step for r in ratios) / len(own) for step in steps)
        profiles[contender] = Profile(tuple(steps), shares)
    return profiles
