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
    """A metric's course over several runs; all four are of one length.

    Attributes:
        x: what had been spent, the median over the runs.
        median, low, high: of the values; NaN where that is the value of a run that had diverged.
    """

    x: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def band(runs: Sequence[Run], metric: Metric, budget: str) -> Band:
    """The band of runs of one contender.

    Where all were evaluated after the same steps it is made evaluation by evaluation; otherwise at whatever
    one of them had spent at an evaluation, the others' values lying on the lines between theirs. A run that
    ended before the others (its target was reached, it diverged) is part of it up to its end.

    Args:
        runs: that tell the budget.
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
    bands = [(x, *(_finite(f(values)) for f in (statistics.median, min, max))) for x, values in rows]
    return Band(*zip(*bands, strict=True)) if bands else Band((), (), (), ())


def _value_at(course: Sequence[tuple[float, float]], x: float) -> float | None:
    """On the line between the evaluations around `x`; None before the first and after the last."""
    for one, other in itertools.pairwise(course):
        if one[0] <= x < other[0]:
            return value_between(one, other, x)
    return course[-1][1] if x == course[-1][0] else None


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
