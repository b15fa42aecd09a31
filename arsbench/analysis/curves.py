"""Learning curves of several seeds as one band."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

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
    """The band of runs of one contender: evaluation by evaluation, the first of all, the second of all, …

    A run that ended before the others (its target was reached, it diverged) is part of it up to its end.

    Args:
        runs: that tell the budget.
        budget: "steps", "passes" or "seconds".
    """
    histories = [run.history(metric) for run in runs]
    worst = -math.inf if metric.higher_is_better else math.inf
    rows = []
    for i in range(max(map(len, histories), default=0)):
        points = [points[i] for points in histories if i < len(points)]
        values = [worst if math.isnan(point.value) else point.value for point in points]
        rows.append(
            (
                statistics.median(point.spent(budget) for point in points),
                *(_finite(f(values)) for f in (statistics.median, min, max)),
            )
        )
    return Band(*zip(*rows, strict=True)) if rows else Band((), (), (), ())


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
