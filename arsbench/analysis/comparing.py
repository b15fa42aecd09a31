"""Comparisons of contenders: paired by seed, at an equal budget."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from arsbench.analysis.checks import same_task
from arsbench.analysis.contenders import by_contender, choose_baseline
from arsbench.analysis.pairing import COARSE, Comparison, pair
from arsbench.analysis.power import seeds_needed
from arsbench.analysis.runs import Run
from arsbench.analysis.significance import FEWEST_SEEDS, TESTS, effect_size, holm, interval, p_value
from arsbench.errors import UserError, nearest
from arsbench.metrics import METRICS, Metric


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
        runs: of one task, with one run for each seed of a contender; unfinished runs are left out.
        metric: by default the task's first that all runs have.
        budget: what is equal: "steps", "passes" or "seconds" (see `pairing.pair`), or several of them.
        at: "final" or "best".
        baseline: a contender, by default the first run's.
        all_pairs: compare every pair of contenders, instead of each with the baseline.
        level: the probability of any false positive among the comparisons returned.
        test: "auto", "t" or "permutation" (see `significance.p_value`).

    Returns:
        for each budget, a comparison for each pair with a seed in common and an equal budget.

    Raises:
        UserError: the runs have different tasks or no metric in common, the baseline or test does not exist,
            or a contender has two runs with one seed.
    """
    if test not in TESTS:
        raise UserError(f"the test is {test!r}; it must be one of {', '.join(TESTS)}")
    metric = metric or choose_metric(runs)
    contenders = by_contender(runs)
    budgets = (budget,) if isinstance(budget, str) else budget
    pairs = contender_pairs(runs, choose_baseline(runs, baseline), all_pairs)
    paired = [pair(contenders[a], contenders[b], metric, each, at) for each in budgets for a, b in pairs]
    return _with_verdicts([c for c in paired if c is not None], level, test)


def contender_pairs(runs: Sequence[Run], baseline: str, all_pairs: bool) -> list[tuple[str, str]]:
    """The pairs of contenders to compare, the baseline first: with the baseline, or all."""
    names = [baseline, *(name for name in by_contender(runs) if name != baseline)]
    return list(itertools.combinations(names, 2)) if all_pairs else [(baseline, name) for name in names[1:]]


def choose_metric(runs: Sequence[Run], name: str | None = None) -> Metric:
    """The metric called `name`, by default the first of the runs' task that all runs with epochs have.

    Raises:
        UserError: the runs have different tasks or no epochs, the metric does not exist, or a run lacks it.
    """
    task = same_task(runs)
    if task not in METRICS:
        raise UserError(f"no metrics are defined for the task {task!r}{nearest(task, METRICS)}")
    measured = {run.name: run.metrics() for run in runs if run.epochs}
    if not measured:
        failed = [run for run in runs if run.state in ("failed", "non_finite")]
        reasons = "; ".join(f"{run.name} {run.standing}: {run.message}".rstrip(": ") for run in failed)
        remedy = f" ({reasons}); compare other runs or resume these" if reasons else " yet; wait for one"
        raise UserError(f"none of the runs has finished an epoch{remedy}")
    names = {run: ", ".join(metric.name for metric in metrics) or "none" for run, metrics in measured.items()}
    if name is None:
        for metric in METRICS[task]:
            if all(metric in metrics for metrics in measured.values()):
                return metric
        available = "; ".join(f"{run}: {text}" for run, text in names.items())
        raise UserError(f"the runs have no metric in common ({available}); compare other runs")
    metric = next((metric for metric in METRICS[task] if metric.name == name), None)
    if metric is None:
        raise UserError(f"no metric is called {name!r}{nearest(name, [m.name for m in METRICS[task]])}")
    for run, metrics in measured.items():
        if metric not in metrics:
            raise UserError(
                f"{run} has no values of the metric {name!r}; it has {names[run]}: choose a metric that all "
                f"runs have"
            )
    return metric


def _with_verdicts(comparisons: Sequence[Comparison], level: float, test: str) -> list[Comparison]:
    """The comparisons with their statistics, the p-values corrected for their number."""
    decidable = [c for c in comparisons if c.gap <= COARSE]
    tested = [p_value(_ranked(c), test=test) for c in decidable if len(c.seeds) >= FEWEST_SEEDS]
    adjusted = iter(zip(tested, holm([p for _, p in tested]), strict=True))
    judged = []
    for c in comparisons:
        c = replace(c, interval=interval(c.differences, level), effect_size=effect_size(c.differences))
        if c.gap <= COARSE and len(c.seeds) >= FEWEST_SEEDS:
            (name, p), p_adjusted = next(adjusted)
            verdict = _direction(c) if p_adjusted <= level else "undecided"
            c = replace(c, test=name, p_value=p, p_adjusted=p_adjusted, verdict=verdict)
        if c.gap <= COARSE and c.verdict in ("undecided", "unreachable"):
            # With more seeds every decidable comparison is tested, and Holm's first step has this level. The
            # present number of seeds has not brought a decision, whatever its power.
            advice = {"level": level / len(decidable), "fewest": max(FEWEST_SEEDS, len(c.seeds) + 1)}
            c = replace(c, seeds_needed=seeds_needed(c.differences, test=test, **advice))
        judged.append(c)
    return judged


def _ranked(c: Comparison) -> list[float]:
    """The differences; infinite where one of two runs diverged, NaN where both did."""
    worst = -math.inf if c.metric.higher_is_better else math.inf
    ranked = []
    for before, after in zip(c.baseline_values, c.rival_values, strict=True):
        if math.isnan(before) == math.isnan(after):
            ranked.append(after - before)
        else:
            ranked.append(worst if math.isnan(after) else -worst)
    return ranked


def _direction(c: Comparison) -> str:
    ranked = _ranked(c)
    if not all(map(math.isfinite, ranked)):
        # As in the sign test, pairs that are equal or both diverged count for neither contender.
        ranked = [math.copysign(1, d) for d in ranked if d and not math.isnan(d)]
    return "better" if (sum(ranked) > 0) == c.metric.higher_is_better else "worse"
