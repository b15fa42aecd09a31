"""A comparison as data: what its Markdown, JSON and HTML page show."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from arsbench.analysis.checks import configuration_differences, same_task, warnings
from arsbench.analysis.comparing import choose_metric, compare
from arsbench.analysis.contenders import by_contender, choose_baseline, suite_baseline, tuning
from arsbench.analysis.pairing import Comparison
from arsbench.analysis.results import Cost, Result, baseline_target, costs_of, results_of
from arsbench.analysis.runs import BUDGETS, Run
from arsbench.analysis.verdict import verdict
from arsbench.analysis.wording import in_digits
from arsbench.errors import UserError
from arsbench.metrics import METRICS, Metric


@dataclass(frozen=True)
class Shortfall:
    """A contender that is worse than the baseline by more than is allowed.

    Attributes:
        value, baseline: the means that were compared; NaN where a run diverged, failed or has no value.
        p_value: of the comparison at equal steps, whatever its verdict, or None.
    """

    contender: str
    metric: Metric
    value: float
    baseline: float
    p_value: float | None

    def sentence(self) -> str:
        """The contender, and by how much it is worse."""
        if math.isnan(self.value):
            return f"{self.contender}, which has no value for every run"
        difference = self.value - self.baseline
        share = f" ({in_digits(100 * difference / abs(self.baseline), '+.2f')} %)" if self.baseline else ""
        p = "p unknown" if self.p_value is None else f"p = {self.p_value:.2g}"
        text = self.metric.text
        return f"{self.contender}, {text(self.value)} against {text(self.baseline)}{share}, {p}"


@dataclass(frozen=True)
class Overview:
    """Everything that a comparison shows.

    Attributes:
        baseline: the contender that the others are compared with.
        differences: see `checks.configuration_differences`, with a value for each run.
        comparisons: at all budgets, those of a pair together; first the "final" ones, then the "best" ones.
        target: the value that `costs` are about; None where no run of the baseline has the metric.
        tuning: by contender, from the suite's plan.
        verdict: lines of sentences.
    """

    runs: list[Run]
    metric: Metric
    baseline: str
    warnings: list[str]
    differences: list[tuple[str, list[Any]]]
    results: list[Result]
    comparisons: list[Comparison]
    target: float | None
    costs: list[Cost]
    tuning: dict[str, dict[str, Any]]
    verdict: str

    @property
    def incomplete(self) -> list[Run]:
        """The runs that failed, diverged, or are unfinished."""
        return [run for run in self.runs if not run.whole]

    def shortfalls(self, allowed: float, relative: bool) -> list[Shortfall]:
        """The contenders worse than the baseline by more than `allowed`, significantly or not; NaN is worse.

        The means over the seeds in common at an equal number of steps are compared, without seeds with which
        the baseline diverged; without data for steps, the means after the last epochs.

        Args:
            allowed: at least 0; in the metric's unit, or if `relative` as a share of the baseline's mean.

        Raises:
            UserError: the baseline has no value, or there is no other contender.
        """
        reference = next(result for result in self.results if result.contender == self.baseline)
        if len(self.results) == 1:
            raise UserError(f"{self.baseline} is the only contender; name others to compare with it")
        finals = [value for value in reference.finals if not math.isnan(value)]
        if not finals:
            raise UserError(f"the baseline {self.baseline!r} has no values to compare with; choose another")
        # In every pair with the baseline, the baseline comes first.
        kind = ("final", "steps", self.baseline)
        paired = {c.rival: c for c in self.comparisons if (c.at, c.budget, c.baseline) == kind}
        shortfalls = []
        for result in self.results:
            if result is reference:
                continue
            value, against, p_value = result.mean, statistics.fmean(finals), None
            if result.contender in paired:
                c = paired[result.contender]
                pairs = zip(c.baseline_values, c.rival_values, strict=True)
                kept = [pair for pair in pairs if not math.isnan(pair[0])]
                if kept:
                    against, value = map(statistics.fmean, zip(*kept, strict=True))
                p_value = c.p_value
            if value is None or not result.whole:
                value = math.nan
            excess = against - value if self.metric.higher_is_better else value - against
            if math.isnan(value) or excess > (allowed * abs(against) if relative else allowed):
                shortfalls.append(Shortfall(result.contender, self.metric, value, against, p_value))
        return shortfalls

    def as_dict(self) -> dict[str, Any]:
        """The comparison in JSON types, except NaN and the infinities."""
        return {
            "task": same_task(self.runs),
            "metric": {**asdict(self.metric), "path": list(self.metric.path)},
            "baseline": self.baseline,
            "verdict": self.verdict,
            "warnings": self.warnings,
            "configuration_differences": [
                {"key": key, "values": dict(zip((run.name for run in self.runs), values, strict=True))}
                for key, values in self.differences
            ],
            "results": [
                {**asdict(r), "mean": r.mean, "median": r.median, "best": r.best} for r in self.results
            ],
            "comparisons": [{**asdict(c), "metric": c.metric.name} for c in self.comparisons],
            "target": self.target,
            "cost_to_target": [asdict(cost) for cost in self.costs],
            "tuning": self.tuning,
            "runs": [run.as_dict() for run in self.runs],
        }


def overview(
    runs: Sequence[Run],
    *,
    metric: str | None = None,
    baseline: str | None = None,
    all_pairs: bool = False,
    target: float | None = None,
    test: str = "auto",
) -> Overview:
    """Compare runs of one task.

    Args:
        runs: as `analysis.contenders.distinct` returns them.
        metric: its name; by default the task's first metric that all runs have.
        baseline: a contender or one of its runs; by default a suite's baseline, or the first run's contender.
        all_pairs: compare every pair of contenders, instead of each with the baseline.
        target: the value to reach at a cost; by default the baseline's best (see `results.baseline_target`).
        test: "auto", "t" or "permutation" (see `analysis.significance.p_value`).

    Raises:
        UserError: the runs have different tasks, the metric or baseline does not exist, or a run lacks the
            metric.
    """
    runs = list(runs)
    chosen = choose_metric(runs, metric)
    if target is not None and not math.isfinite(target):
        raise UserError(f"the target is {target}; it must be a number other than infinity or NaN")
    deciding = METRICS[same_task(runs)][0]
    cautions = warnings(runs)
    if chosen != deciding:
        titles = [f"{each.name} ({each.title})" for each in (chosen, deciding)]
        cautions.insert(0, "The metric is {}, not the task's deciding metric {}.".format(*titles))
    reference = choose_baseline(runs, baseline or suite_baseline(runs))
    # A run that diverged before its first evaluation has no value, but ranks below the others.
    measured = [run for run in runs if run.history(chosen) or run.diverged]
    if target is None:
        with contextlib.suppress(UserError):  # no values of the baseline, and hence no costs
            target = baseline_target(runs, chosen, reference)
    options = {"metric": chosen, "baseline": reference, "all_pairs": all_pairs, "test": test}
    paired, unpaired = _paired(measured, reference, all_pairs)
    return Overview(
        runs=runs,
        metric=chosen,
        baseline=reference,
        warnings=cautions,
        differences=configuration_differences(runs),
        results=results_of(runs, chosen),
        comparisons=_comparisons(paired, options) if paired else [],
        target=target,
        costs=[] if target is None else costs_of(runs, chosen, target),
        tuning=tuning(runs),
        verdict="\n".join([*([verdict(paired, **options)] if paired else []), *unpaired]),
    )


def _paired(runs: Sequence[Run], baseline: str, all_pairs: bool) -> tuple[list[Run], list[str]]:
    """The runs of contenders with a seed in common, none without a pair, and sentences on the others."""
    contenders = by_contender(runs)
    seeds = {name: {run.seed for run in members} - {None} for name, members in contenders.items()}
    if baseline not in seeds:
        return [], [f"The baseline {baseline} has no results yet; no contender can be compared with it."]
    if len(seeds) == 1:
        return [], [f"Only {baseline} has results; there is nothing to compare it with."]
    partners = set(seeds) if all_pairs else {baseline}
    unpaired = [
        name
        for name in seeds
        if not any(seeds[name] & seeds[other] for other in partners - {name})
        and (all_pairs or name != baseline)
    ]
    sentences = [
        f"{name} has no seed in common with {'any other contender' if all_pairs else baseline}; it is not "
        f"compared."
        for name in unpaired
    ]
    kept = [run for run in runs if run.contender not in unpaired]
    return kept if len(by_contender(kept)) > 1 else [], sentences


def _comparisons(runs: Sequence[Run], options: dict[str, Any]) -> list[Comparison]:
    """The final and the best values at each budget; the budgets of a pair follow one another."""
    comparisons = [c for at in ("final", "best") for c in compare(runs, budget=BUDGETS, at=at, **options)]
    pairs = list(dict.fromkeys((c.baseline, c.rival) for c in comparisons))
    return sorted(comparisons, key=lambda c: (c.at == "best", pairs.index((c.baseline, c.rival))))
