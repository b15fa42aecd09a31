"""Two contenders' values at an equal budget, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.runs import Run
from arsbench.errors import UserError
from arsbench.metrics import Metric, Point, best_point

# A run that has come to its end: what it reached may be held against another's. One that diverged has, too.
COMPLETE = ("finished", "imported", "non_finite")


@dataclass(frozen=True)
class Pairing:
    """What two contenders reached with the same seeds and the same budget.

    Attributes:
        seeds: those that both have complete runs of.
        spent: the budget, in its own unit.
        baseline_values, rival_values: the metric, one for each seed; NaN of a run that diverged.
    """

    seeds: tuple[int, ...]
    spent: float
    baseline_values: tuple[float, ...]
    rival_values: tuple[float, ...]


def pair(
    baseline: Sequence[Run], rival: Sequence[Run], metric: Metric, budget: str, at: str
) -> Pairing | None:
    """Pair two contenders' runs.

    The budget is what all of them can be held to: where the first of them ends, or rather the last evaluation
    before that of the one which is evaluated most rarely. So only measured values are compared, and a run
    whose evaluations lie far apart is not held to what a rival did after its own last one.

    Args:
        baseline, rival: runs, one a seed.
        metric: what is compared.
        budget: "steps", "passes" or "seconds".
        at: "final" for the last evaluation within the budget, "best" for the best one.

    Returns:
        None where they have no seed in common, a run does not tell the budget, or one ended before another's
        first evaluation.

    Raises:
        UserError: a contender has two runs of one seed.
    """
    ours, theirs = _by_seed(baseline), _by_seed(rival)
    seeds = tuple(sorted(ours.keys() & theirs.keys()))
    histories = {run.name: run.history(metric) for own in (ours, theirs) for run in own.values()}
    if not seeds or any(p.spent(budget) is None for points in histories.values() for p in points):
        return None
    runs = [own[seed] for own in (ours, theirs) for seed in seeds]
    # One that diverged has lost whatever the others spend, and must not end the comparison for them.
    lasting = [histories[run.name] for run in runs if run.state != "non_finite"]
    if not all(lasting):
        return None
    limit = _common(lasting, budget) if lasting else 0.0
    if limit is None:
        return None

    def values(own: dict[int, Run]) -> tuple[float, ...]:
        return tuple(_value(own[s], histories[own[s].name], metric, budget, limit, at) for s in seeds)

    return Pairing(seeds, limit, values(ours), values(theirs))


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


def _common(histories: Sequence[Sequence[Point]], budget: str) -> float | None:
    """The budget at which all can be compared; None where one has no evaluation by then."""
    end = min(points[-1].spent(budget) for points in histories)
    within = [[s for p in points if (s := p.spent(budget)) <= end] for points in histories]
    if not all(within):
        return None
    limit = min(spent[-1] for spent in within)
    return limit if all(spent[0] <= limit for spent in within) else None


def _value(run: Run, points: Sequence[Point], metric: Metric, budget: str, limit: float, at: str) -> float:
    if run.state == "non_finite" and at == "final":
        return float("nan")
    within = [point for point in points if point.spent(budget) <= limit]
    if not within:  # it diverged before its first evaluation
        return float("nan")
    return (best_point(within, metric) if at == "best" else within[-1]).value
