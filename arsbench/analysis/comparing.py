"""Who is better than whom: comparisons paired by seed, at an equal budget."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import COARSE, Pairing, pair
from arsbench.analysis.power import seeds_needed
from arsbench.analysis.runs import Run
from arsbench.analysis.significance import FEWEST_SEEDS, TESTS, effect_size, holm, interval, p_value
from arsbench.errors import UserError
from arsbench.metrics import METRICS, Metric, task_name


@dataclass(frozen=True)
class Comparison:
    """A contender against another, over the seeds that both have.

    Attributes:
        baseline, rival: contenders.
        budget: what both were allowed as much of: "steps", "passes" or "seconds".
        spent: how much, in its unit.
        gap, eval_every_steps, left_out: see `pairing.Pairing`.
        at: "final", their values at the budget, or "best", their best ones up to it.
        seeds: those in common.
        baseline_values, rival_values: the metric, one for each seed; NaN of a run that diverged.
        difference: mean of the rival's values less the baseline's; NaN if a run diverged.
        interval: 95 % confidence interval of that (1 − level); None where none can be given.
        effect_size: Cohen's d_z; None likewise.
        test: which gave the p-value, or "" for none.
        p_value: two-sided; None with too few seeds, or evaluations too far apart (see `pairing.COARSE`).
        p_adjusted: corrected after Holm for the comparisons made together, which share `at`.
        verdict: on the rival: "better", "worse", "undecided", or where there is no p-value, "unreachable".
        seeds_needed: without a decision, how many would probably bring one; None where that is unknown, or
            more seeds would bring none.
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
    interval: tuple[float, float] | None
    effect_size: float | None
    test: str = ""
    p_value: float | None = None
    p_adjusted: float | None = None
    verdict: str = "unreachable"
    seeds_needed: int | None = None


def compare(
    runs: Sequence[Run],
    *,
    metric: Metric | None = None,
    budget: str | Sequence[str] = "steps",
    at: str = "final",
    baseline: str | None = None,
    all_pairs: bool = False,
    level: float = 0.05,
    test: str = "auto",
) -> list[Comparison]:
    """Compare contenders over the seeds that they have in common.

    Args:
        runs: of one task, a contender's of different seeds; those that are not complete are left out.
        metric: by default the first of the task's that all of them have.
        budget: what is equal: "steps", "passes" or "seconds" (see `pairing.pair`), or several of them.
        at: "final" or "best".
        baseline: a contender, by default the first run's.
        all_pairs: compare each contender with each other one, not with the baseline alone.
        level: the probability of any false alarm among the comparisons returned.
        test: "auto", "t" or "permutation" (see `significance.p_value`).

    Returns:
        for each budget one for each pair that has a seed in common and can be held to an equal budget.

    Raises:
        UserError: the runs are of different tasks or have no metric in common, the baseline is none of the
            contenders, a contender has two runs of a seed, or there is no such test.
    """
    if test not in TESTS:
        raise UserError(f"the test is {test!r}; it must be one of {', '.join(TESTS)}")
    metric = metric or common_metric(runs)
    contenders = by_contender(runs)
    first = baseline or runs[0].contender
    if first not in contenders:
        raise UserError(f"the baseline {first!r} is no contender; there are {', '.join(contenders)}")
    found = []
    for each in (budget,) if isinstance(budget, str) else budget:
        for one, other in contender_pairs(runs, first, all_pairs):
            paired = pair(contenders[one], contenders[other], metric, each, at)
            if paired is not None:
                found.append(_described(one, other, metric, each, at, paired, level))
    return _judged(found, level, test)


def contender_pairs(runs: Sequence[Run], baseline: str, all_pairs: bool) -> list[tuple[str, str]]:
    """Which contenders are compared: each other one with the baseline, which comes first, or with all."""
    names = [baseline, *(name for name in by_contender(runs) if name != baseline)]
    return list(itertools.combinations(names, 2)) if all_pairs else [(baseline, name) for name in names[1:]]


def common_metric(runs: Sequence[Run]) -> Metric:
    """The first metric of the runs' task that all with figures have.

    Raises:
        UserError: they are of different tasks, or there is none.
    """
    tasks = {task_name(run.task) for run in runs}
    if len(tasks) != 1:
        raise UserError(f"the runs are of {len(tasks)} tasks; compare runs of one")
    measured = [run for run in runs if run.epochs]
    for metric in METRICS.get(tasks.pop(), ()):
        if measured and all(metric in run.metrics() for run in measured):
            return metric
    raise UserError("the runs have no metric in common; compare others, or wait for their first evaluations")


def _described(
    baseline: str, rival: str, metric: Metric, budget: str, at: str, paired: Pairing, level: float
) -> Comparison:
    differences = _differences(paired.baseline_values, paired.rival_values)
    return Comparison(
        baseline=baseline,
        rival=rival,
        metric=metric,
        budget=budget,
        at=at,
        **vars(paired),
        difference=sum(differences) / len(differences),
        interval=interval(differences, level),
        effect_size=effect_size(differences),
    )


def _differences(baseline: Sequence[float], rival: Sequence[float]) -> list[float]:
    return [theirs - ours for ours, theirs in zip(baseline, rival, strict=True)]


def _judged(found: Sequence[Comparison], level: float, test: str) -> list[Comparison]:
    """The same with p-values and verdicts, of which the number of comparisons is part."""
    decidable = [c for c in found if c.gap <= COARSE]
    tested = [p_value(_ranked(c), test=test) for c in decidable if len(c.seeds) >= FEWEST_SEEDS]
    adjusted = iter(zip(tested, holm([p for _, p in tested]), strict=True))
    judged = []
    for c in found:
        if c.gap > COARSE:
            judged.append(c)
            continue
        # With more seeds all of them are tested, and Holm's first step decides at this level.
        advice = {"level": level / len(decidable), "test": test}
        differences = _differences(c.baseline_values, c.rival_values)
        if len(c.seeds) < FEWEST_SEEDS:
            judged.append(replace(c, seeds_needed=seeds_needed(differences, **advice)))
            continue
        (name, p), p_adjusted = next(adjusted)
        c = replace(c, test=name, p_value=p, p_adjusted=p_adjusted)
        if p_adjusted <= level:
            judged.append(replace(c, verdict=_direction(c)))
        else:
            # As many as there are have not brought a decision, though they might have.
            more = seeds_needed(differences, **advice, fewest=len(c.seeds) + 1)
            judged.append(replace(c, verdict="undecided", seeds_needed=more))
    return judged


def _ranked(c: Comparison) -> list[float]:
    """The differences, a run that diverged being infinitely worse than one that did not."""
    best = math.inf if c.metric.higher_is_better else -math.inf
    ranked = []
    for ours, theirs in zip(c.baseline_values, c.rival_values, strict=True):
        if math.isnan(ours) == math.isnan(theirs):
            ranked.append(theirs - ours)
        else:
            ranked.append(best if math.isnan(ours) else -best)
    return ranked


def _direction(c: Comparison) -> str:
    ranked = _ranked(c)
    if not all(map(math.isfinite, ranked)):
        # As the sign test has it: of equal values neither has won, nor of two runs that both diverged.
        ranked = [math.copysign(1, d) for d in ranked if d and not math.isnan(d)]
    return "better" if (sum(ranked) > 0) == c.metric.higher_is_better else "worse"
