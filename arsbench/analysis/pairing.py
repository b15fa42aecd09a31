"""Two contenders' values at an equal budget, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.runs import COMPLETE, Run
from arsbench.errors import UserError
from arsbench.metrics import Metric, Point, best_point

# Evaluations further apart than these shares of the budget: interpolation between them is rough, or misleads
# so often that there is no verdict (a convex curve lies below its chord, which tells against the slower).
ROUGH, COARSE = 0.1, 1 / 3
# A run that spent less than this share of what others did ended early.
_EARLY = 0.5


def counted(runs: Sequence[Run]) -> list[Run]:
    """The runs of a contender that stand for it: those that have come to their end, or all where none has."""
    return [run for run in runs if run.state in COMPLETE] or list(runs)


@dataclass(frozen=True)
class Pairing:
    """What two contenders reached with the same seeds and the same budget.

    Attributes:
        seeds: those that both have complete runs of, without those of `left_out`.
        spent: the budget, in its own unit.
        gap: how far apart the evaluations are between which a value was interpolated, the farthest as a share
            of the budget; 0 where all values were measured.
        eval_every_steps: the largest number of steps between evaluations that brings the gap down to `ROUGH`;
            None where it is no larger, or the runs do not tell their steps.
        left_out: names of the runs that ended so early that the others would be held to a fraction of what
            they spent.
        baseline_values, rival_values: the metric, one for each seed; NaN of a run that diverged.
    """

    seeds: tuple[int, ...]
    spent: float
    gap: float
    eval_every_steps: int | None
    left_out: tuple[str, ...]
    baseline_values: tuple[float, ...]
    rival_values: tuple[float, ...]


def pair(
    baseline: Sequence[Run], rival: Sequence[Run], metric: Metric, budget: str, at: str
) -> Pairing | None:
    """Pair two contenders' runs.

    The budget is where the first of the runs ends; a run that ended early, before half of that budget and of
    what most runs of its contender spent, is left out. The others' values there are interpolated linearly
    between the evaluations around it.

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
    common = ours.keys() & theirs.keys()
    histories = {own[s].name: own[s].history(metric) for own in (ours, theirs) for s in common}
    if any(point.spent(budget) is None for points in histories.values() for point in points):
        return None

    def ends(own: dict[int, Run]) -> dict[str, float]:
        # One that diverged has lost whatever the others spend, and must not end the comparison for them.
        names = [own[s].name for s in common if not own[s].diverged]
        return {name: histories[name][-1].spent(budget) for name in names if histories[name]}

    early = _early(ends(ours), ends(theirs))
    seeds = tuple(sorted(s for s in common if not early & {ours[s].name, theirs[s].name}))
    runs = [own[seed] for own in (ours, theirs) for seed in seeds]
    lasting = [histories[run.name] for run in runs if not run.diverged]
    if not seeds or not all(lasting):
        return None
    # Where all diverged, they are held to what the first of them had spent when it was last evaluated.
    limit = min((points[-1].spent(budget) for points in lasting or histories.values() if points), default=0.0)
    if any(points[0].spent(budget) > limit for points in lasting):
        return None
    gaps = [_gap(points, budget, limit) for points in lasting]

    def values(own: dict[int, Run]) -> tuple[float, ...]:
        return tuple(_value(own[s], histories[own[s].name], metric, budget, limit, at) for s in seeds)

    return Pairing(
        seeds=seeds,
        spent=limit,
        gap=max((gap for gap, _ in gaps), default=0.0),
        eval_every_steps=_eval_every_steps(gaps),
        left_out=tuple(sorted(early)),
        baseline_values=values(ours),
        rival_values=values(theirs),
    )


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


def _early(*contenders: dict[str, float]) -> set[str]:
    """The runs that must not end the comparison for the others.

    A contender whose runs all end soon, as where they reach `train.stop_at`, sets the budget. A single run
    that ends far below most of its contender's and below the budget that the comparison has without it would
    hold all to a beginning.

    Args:
        contenders: of each contender what its runs had spent at their ends, by name.
    """

    def isolated(end: float, ends: dict[str, float]) -> bool:
        return 2 * sum(end < _EARLY * other for other in ends.values()) > len(ends)

    lasting = [end for ends in contenders for end in ends.values() if not isolated(end, ends)]
    limit = _EARLY * min(lasting, default=0.0)
    return {name for ends in contenders for name, end in ends.items() if end < limit}


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


def _gap(points: Sequence[Point], budget: str, limit: float) -> tuple[float, int | None]:
    """Between the evaluations around the limit: what was spent, as a share of it, and the steps."""
    before = [point for point in points if point.spent(budget) <= limit][-1]
    after = next((point for point in points if point.spent(budget) > limit), before)
    if before.spent(budget) == limit:
        return 0.0, 0
    steps = None if before.steps is None or after.steps is None else after.steps - before.steps
    return (after.spent(budget) - before.spent(budget)) / limit, steps


def _eval_every_steps(gaps: Sequence[tuple[float, int | None]]) -> int | None:
    """The steps between evaluations that bring the rough ones of these gaps down to `ROUGH`."""
    rough = [(gap, steps) for gap, steps in gaps if gap > ROUGH]
    if not rough or any(steps is None for _, steps in rough):
        return None
    return max(1, min(int(steps * ROUGH / gap) for gap, steps in rough))
