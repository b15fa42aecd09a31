"""Learning curves of several seeds as one band."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.pairing import value_between
from arsbench.analysis.runs import Run
from arsbench.metrics import Metric


@dataclass(frozen=True)
class Band:
    """A metric over several runs; all five tuples have the same length.

    Attributes:
        x: what had been spent, the median over the runs.
        mean, median, low, high: of the values; NaN where that is the value of a diverged run.
    """

    x: tuple[float, ...]
    mean: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def band(runs: Sequence[Run], metric: Metric, budget: str) -> Band:
    """The band of one contender's runs.

    Runs that were evaluated after the same steps are joined evaluation by evaluation. Otherwise the band has
    a point wherever one run was evaluated, and the other runs are interpolated linearly. A run contributes
    up to its last evaluation.

    Args:
        runs: with data for the budget.
        budget: "steps", "passes" or "seconds".
    """
    histories = [points for run in runs if (points := run.history(metric))]
    worst = -math.inf if metric.higher_is_better else math.inf
    courses = [
        [(p.spent(budget), worst if math.isnan(p.value) else p.value) for p in points] for points in histories
    ]
    if len({tuple((p.epoch, p.steps) for p in points) for points in histories}) == 1:
        rows = [
            (statistics.median(x for x, _ in points), [value for _, value in points])
            for points in zip(*courses, strict=True)
        ]
    else:
        places = sorted({x for course in courses for x, _ in course})
        rows = [(x, [v for course in courses if (v := _value_at(course, x)) is not None]) for x in places]
    bands = [
        (x, *(_finite(f(values)) for f in (statistics.fmean, statistics.median, min, max)))
        for x, values in rows
    ]
    return Band(*zip(*bands, strict=True)) if bands else Band((), (), (), (), ())


def _value_at(course: Sequence[tuple[float, float]], x: float) -> float | None:
    """Interpolated between the evaluations around `x`; None before the first and after the last."""
    for before, after in itertools.pairwise(course):
        if before[0] <= x < after[0]:
            return value_between(before, after, x)
    return course[-1][1] if x == course[-1][0] else None


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
