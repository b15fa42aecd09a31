"""Two contenders' values at an equal budget, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.runs import COMPLETE, Run
from arsbench.errors import UserError
from arsbench.metrics import Metric, Point, best_point


def counted(runs: Sequence[Run]) -> list[Run]:
    """The runs of a contender that stand for it: those that have come to their end, or all where none has."""
    return [run for run in runs if run.state in COMPLETE] or list(runs)


@dataclass(frozen=True)
class Pairing:
    """What two contenders reached with the same seeds and the same budget.

    Attributes:
        seeds: those that both have complete runs of.
        spent: the budget, in its own unit.
        gap: how far apart the evaluations are between which a value was interpolated, the farthest as a share
            of the budget; 0 where all values were measured.
        baseline_values, rival_values: the metric, one for each seed; NaN of a run that diverged.
    """

    seeds: tuple[int, ...]
    spent: float
    gap: float
    baseline_values: tuple[float, ...]
    rival_values: tuple[float, ...]


def pair(
    baseline: Sequence[Run], rival: Sequence[Run], metric: Metric, budget: str, at: str
) -> Pairing | None:
    """Pair two contenders' runs.

    The budget is where the first of the runs ends. The others' values there are interpolated linearly between
    the evaluations around it.

    Args:
        baseline, rival: runs, one a seed.
        metric: what is compared.
        budget: "steps", "passes" or "seconds".
        at: "final" for the value at the budget, "best" for the best one up to it.

    Returns:
        None where they have no seed in common, a run does not tell the budget, or one ended before another's
        first evaluation.

    Raises:
        UserError: a contender has two runs of one seed.
    """
    ours, theirs = _by_seed(baseline), _by_seed(rival)
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    runs = [own[seed] for own in (ours, theirs) for seed in seeds]
    histories = {run.name: run.history(metric) for run in runs}
    if not seeds or any(p.spent(budget) is None for points in histories.values() for p in points):
        return None
    # One that diverged has lost whatever the others spend, and must not end the comparison for them.
    lasting = [histories[run.name] for run in runs if not run.diverged]
    if not all(lasting):
        return None
    # Where all diverged, they are held to what the first of them had spent when it was last evaluated.
    ends = [points[-1].spent(budget) for points in lasting or histories.values() if points]
    limit = min(ends, default=0.0)
    if any(points[0].spent(budget) > limit for points in lasting):
        return None

    def values(own: dict[int, Run]) -> tuple[float, ...]:
        return tuple(_value(own[s], histories[own[s].name], metric, budget, limit, at) for s in seeds)

    gap = max((_gap(points, budget, limit) for points in lasting), default=0.0)
    return Pairing(seeds, limit, gap, values(ours), values(theirs))


def _by_seed(runs: Sequence[Run]) -> dict[int, Run]:
    found: dict[int, Run] = {}
    for run in runs:
        if run.seed is None or run.state not in COMPLETE:
            continue
        if run.seed in found:
            raise UserError(
                f"{found[run.seed].name} and {run.name} are both {run.contender} with seed {run.seed}; leave "
                f"one of them out"
            )
        found[run.seed] = run
    return found


def _value(run: Run, points: Sequence[Point], metric: Metric, budget: str, limit: float, at: str) -> float:
    if run.diverged and (at == "final" or not points):
        return math.nan
    before = [point for point in points if point.spent(budget) <= limit]
    after = next((point for point in points if point.spent(budget) > limit), None)
    if not before:  # one that diverged later than the others ended
        return math.nan
    value = before[-1].value
    if after is not None:
        ends = (before[-1].spent(budget), value), (after.spent(budget), after.value)
        value = value_between(*ends, limit)
    best = best_point(before, metric).value
    return best if at == "best" and not metric.better(value, best) else value


def value_between(one: tuple[float, float], other: tuple[float, float], spent: float) -> float:
    """On the line between two evaluations, each what had been spent and its value."""
    (start, before), (end, after) = one, other
    if start == spent or not math.isfinite(before):  # whatever the value after it
        return before
    return before + (spent - start) / (end - start) * (after - before)


def _gap(points: Sequence[Point], budget: str, limit: float) -> float:
    spent = [point.spent(budget) for point in points]
    before, after = max(s for s in spent if s <= limit), min((s for s in spent if s > limit), default=limit)
    return 0.0 if before == limit else (after - before) / limit
