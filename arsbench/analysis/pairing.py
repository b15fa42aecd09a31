"""Two contenders' values at an equal budget, paired by seed."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.runs import ENDED, Run
from arsbench.errors import UserError
from arsbench.metrics import Metric, Point, best_point

# Gaps between evaluations, as shares of the budget, above which interpolation is rough, or too coarse for a
# verdict: a convex curve lies below its chord, so that interpolation puts the slower contender at a
# disadvantage.
ROUGH, COARSE = 0.1, 1 / 3
# A run ended early if it spent less than this share of what other runs spent.
_EARLY = 0.5


def counted(runs: Sequence[Run]) -> list[Run]:
    """The runs that count for a contender: those that ended, or all where none did."""
    return [run for run in runs if run.state in ENDED] or list(runs)


@dataclass(frozen=True)
class Comparison:
    """A contender against another, over the seeds that both have.

    Attributes:
        baseline, rival: contenders.
        budget: what is equal: "steps", "passes" or "seconds".
        spent: the budget, in its unit.
        gap: the largest distance between evaluations over which a value was interpolated, as a share of the
            budget; 0 where all values were measured.
        eval_every_steps: the largest number of steps between evaluations with a gap of at most `ROUGH`; None
            where the gap is no larger, or the runs have no data for steps.
        left_out: names of runs left out because they ended early (see `pair`).
        at: "final" for the values at the budget, "best" for the best values up to it.
        seeds: those with which both contenders have a run that ended, except those of `left_out`.
        baseline_values, rival_values: the metric, a value for each seed; NaN for a run that diverged.
        difference: mean of the rival's values minus the baseline's; NaN if a run diverged.
        interval: confidence interval of `difference` (level 1 − `level`, 95 % by default), or None.
        effect_size: Cohen's d_z, or None.
        test: the test that gave the p-value; "" for none.
        p_value: two-sided; None with too few seeds or evaluations too far apart (see `COARSE`).
        p_adjusted: Holm-corrected for the comparisons returned together.
        verdict: on the rival: "better", "worse", "undecided", or without a p-value "unreachable".
        seeds_needed: without a decision, the number of seeds that would probably bring one; None where it
            is unknown, or more seeds would bring none.
    """

    baseline: str
    rival: str
    metric: Metric
    budget: str
    spent: float
    gap: float
    eval_every_steps: int | None
    left_out: tuple[str, ...]
    at: str
    seeds: tuple[int, ...]
    baseline_values: tuple[float, ...]
    rival_values: tuple[float, ...]
    difference: float
    interval: tuple[float, float] | None = None
    effect_size: float | None = None
    test: str = ""
    p_value: float | None = None
    p_adjusted: float | None = None
    verdict: str = "unreachable"
    seeds_needed: int | None = None

    @property
    def differences(self) -> list[float]:
        """The rival's value minus the baseline's, for each seed."""
        return list(map(operator.sub, self.rival_values, self.baseline_values))


def pair(
    baseline: Sequence[Run], rival: Sequence[Run], metric: Metric, budget: str, at: str
) -> Comparison | None:
    """Pair two contenders' runs by seed, without statistics.

    The budget is the end of the run that ends first. A run that ended before half of that budget, and of
    what most runs of its contender spent, is left out. The values of the other runs are interpolated linearly
    between the evaluations around the budget.

    Args:
        baseline, rival: runs, one for each seed.
        budget: "steps", "passes" or "seconds".
        at: "final" for the value at the budget, "best" for the best value up to it.

    Returns:
        None where the contenders have no seed in common, a run has no data for the budget, or a run ended
        before the first evaluation of another.

    Raises:
        UserError: a contender has two runs with one seed.
    """
    contenders = _by_seed(baseline), _by_seed(rival)
    common = sorted(contenders[0].keys() & contenders[1].keys())
    histories = {runs[s].name: runs[s].history(metric) for runs in contenders for s in common}
    if any(point.spent(budget) is None for points in histories.values() for point in points):
        return None

    def ends(runs: dict[int, Run]) -> dict[str, float]:
        # A diverged run ranks last at any budget, and must not end the comparison for the others.
        names = [runs[s].name for s in common if not runs[s].diverged]
        return {name: histories[name][-1].spent(budget) for name in names if histories[name]}

    early = _early(*map(ends, contenders))
    seeds = [s for s in common if not early & {runs[s].name for runs in contenders}]
    lasting = [histories[runs[s].name] for runs in contenders for s in seeds if not runs[s].diverged]
    if not seeds or not all(lasting):
        return None
    # Where all runs diverged, the budget is the first of their last evaluations.
    limit = min((points[-1].spent(budget) for points in lasting or histories.values() if points), default=0.0)
    if any(points[0].spent(budget) > limit for points in lasting):
        return None
    gaps = [_gap(points, budget, limit) for points in lasting]
    baseline_values, rival_values = (
        tuple(_value(runs[s], histories[runs[s].name], metric, budget, limit, at) for s in seeds)
        for runs in contenders
    )
    return Comparison(
        baseline=baseline[0].contender,
        rival=rival[0].contender,
        metric=metric,
        budget=budget,
        spent=limit,
        gap=max((gap for gap, _ in gaps), default=0.0),
        eval_every_steps=_eval_every_steps(gaps),
        left_out=tuple(sorted(early)),
        at=at,
        seeds=tuple(seeds),
        baseline_values=baseline_values,
        rival_values=rival_values,
        difference=sum(map(operator.sub, rival_values, baseline_values)) / len(seeds),
    )


def _by_seed(runs: Sequence[Run]) -> dict[int, Run]:
    by_seed: dict[int, Run] = {}
    for run in runs:
        if run.seed is None or run.state not in ENDED:
            continue
        other = by_seed.setdefault(run.seed, run)
        if other is not run:
            raise UserError(
                f"{other.name} and {run.name} are both {run.contender} with seed {run.seed}; leave "
                f"one of them out"
            )
    return by_seed


def _early(*contenders: dict[str, float]) -> set[str]:
    """The runs that must not end the comparison for the others.

    A contender whose runs all end early, for example at `train.stop_at`, sets the budget. A single run that
    ends far below most runs of its contender, and below the budget that the comparison has without it, is
    early: it would cut all others to their first part.

    Args:
        contenders: for each contender what its runs had spent at their ends, by name.
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
    if not before:  # the run diverged after the others had ended
        return math.nan
    value = before[-1].value
    if after is not None:
        ends = (before[-1].spent(budget), value), (after.spent(budget), after.value)
        value = value_between(*ends, limit)
    best = best_point(before, metric).value
    return best if at == "best" and not metric.better(value, best) else value


def value_between(before: tuple[float, float], after: tuple[float, float], spent: float) -> float:
    """The value at `spent`, interpolated between two evaluations, each a pair (spent, value)."""
    (start, value), (end, next_value) = before, after
    if start == spent or not math.isfinite(value):  # whatever the next value is
        return value
    return value + (spent - start) / (end - start) * (next_value - value)


def _gap(points: Sequence[Point], budget: str, limit: float) -> tuple[float, int | None]:
    """The distance between the evaluations around the limit: as a share of it, and in steps."""
    before = [point for point in points if point.spent(budget) <= limit][-1]
    after = next((point for point in points if point.spent(budget) > limit), before)
    if before.spent(budget) == limit:
        return 0.0, 0
    steps = None if before.steps is None or after.steps is None else after.steps - before.steps
    return (after.spent(budget) - before.spent(budget)) / limit, steps


def _eval_every_steps(gaps: Sequence[tuple[float, int | None]]) -> int | None:
    """The number of steps between evaluations that reduces the rough gaps to `ROUGH`."""
    rough = [(gap, steps) for gap, steps in gaps if gap > ROUGH]
    if not rough or any(steps is None for _, steps in rough):
        return None
    return max(1, min(int(steps * ROUGH / gap) for gap, steps in rough))
