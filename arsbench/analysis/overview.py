"""A comparison as data: what its Markdown, its JSON and its page show."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from arsbench import analysis
from arsbench.analysis import BUDGETS, Comparison, Run, checks
from arsbench.analysis.contenders import by_contender, suite_baseline, tuning
from arsbench.analysis.results import Cost, Result, costs_of, results_of
from arsbench.analysis.wording import in_digits
from arsbench.errors import UserError, nearest
from arsbench.metrics import METRICS, Metric


@dataclass(frozen=True)
class Shortfall:
    """A contender that is worse than the baseline by more than is allowed.

    Attributes:
        metric: what was compared.
        value, baseline: the means that were compared; NaN where a run diverged, failed or has no figure.
        p_value: of their comparison by steps, whatever the verdict; None where there is none.
    """

    contender: str
    metric: Metric
    value: float
    baseline: float
    p_value: float | None

    def sentence(self) -> str:
        """Who, and by how much."""
        by = self.value - self.baseline
        share = f" ({in_digits(100 * by / abs(self.baseline), '+.2f')} %)" if self.baseline else ""
        p = "p unknown" if self.p_value is None else f"p = {self.p_value:.2g}"
        if math.isnan(self.value):
            return f"{self.contender}, which has no figure for every run"
        text = self.metric.text
        return f"{self.contender}, {text(self.value)} against {text(self.baseline)}{share}, {p}"


@dataclass(frozen=True)
class Overview:
    """Everything a comparison shows.

    Attributes:
        metric: what is compared.
        baseline: the contender that the others are compared with.
        differences: as of `checks.configuration_differences`, a value per run.
        comparisons: of all budgets, those of one pair together; first by the last evaluations ("final"), then
            by the best ones ("best").
        target: the value that `costs` are about; None where no run of the baseline has the metric.
        tuning: by contender, as a suite's plan tells it.
        verdict: in sentences.
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
        """The runs that failed, diverged, or have not come to their end."""
        return [run for run in self.runs if not run.whole]

    def shortfalls(self, allowed: float, relative: bool) -> list[Shortfall]:
        """The contenders worse than the baseline by more than `allowed`, significantly or not; NaN is worse.

        Compared are the means over seeds in common at the largest number of steps that all reached; where
        that cannot be had, as with reports, the means after the last epochs. Seeds with which the baseline
        diverged tell nothing about others.

        Args:
            allowed: at least 0, in the metric's unit, or if `relative` as a share of the baseline's mean.

        Raises:
            UserError: the baseline has no figure, or there is no other contender.
        """
        reference = next(result for result in self.results if result.contender == self.baseline)
        if len(self.results) == 1:
            raise UserError(
                f"there is only {self.baseline}, and nothing that could be worse; name others to compare"
            )
        finals = [value for value in reference.finals if not math.isnan(value)]
        if not finals:
            raise UserError(
                f"the baseline {self.baseline!r} has no figure for others to be worse than; choose another"
            )
        found = []
        for result in self.results:
            value, against, p_value = result.mean, statistics.fmean(finals), None
            for comparison in self.comparisons:
                pair = {comparison.baseline, comparison.rival}
                kind = (comparison.at, comparison.budget)
                if kind == ("final", "steps") and pair == {self.baseline, result.contender}:
                    values = comparison.baseline_values, comparison.rival_values
                    ours, theirs = values if comparison.baseline == self.baseline else values[::-1]
                    known = [both for both in zip(ours, theirs, strict=True) if not math.isnan(both[0])]
                    if known:
                        against, value = map(statistics.fmean, zip(*known, strict=True))
                    p_value = comparison.p_value
            if value is None or not result.whole:
                value = math.nan
            excess = against - value if self.metric.higher_is_better else value - against
            limit = allowed * abs(against) if relative else allowed
            if result is not reference and (math.isnan(value) or excess > limit):
                found.append(Shortfall(result.contender, self.metric, value, against, p_value))
        return found

    def as_dict(self) -> dict[str, Any]:
        """In plain JSON types, but for NaN and the infinities."""
        return {
            "task": checks.same_task(self.runs),
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
        runs: as of `analysis.contenders.distinct`.
        metric: its name; by default the task's first that all runs have.
        baseline: a contender or one of its runs; by default a suite's own, or else the first run's contender.
        all_pairs: compare each contender with each other one, not with the baseline alone.
        target: what costs are counted to; by default the best of the baseline.
        test: what decides: "auto", "t" or "permutation" (see `analysis.significance.p_value`).

    Raises:
        UserError: the runs are of different tasks, or metric or baseline are unknown, or not all have the
            metric.
    """
    runs = list(runs)
    task = checks.same_task(runs)
    chosen = _metric(runs, task, metric)
    if target is not None and not math.isfinite(target):
        raise UserError(f"the target is {target}; give a number")
    against = _baseline(runs, baseline)
    # One that diverged before its first evaluation has no figure, and has lost all the same.
    measured = [run for run in runs if run.history(chosen) or run.diverged]
    if target is None:
        with contextlib.suppress(UserError):  # then there are no costs
            target = analysis.baseline_target(runs, chosen, against)
    options = {"metric": chosen, "baseline": against, "all_pairs": all_pairs, "test": test}
    paired, unpaired = _paired(measured, against, all_pairs)
    comparisons = _comparisons(paired, options) if paired else []
    verdict = analysis.verdict(paired, **options) if paired else ""
    return Overview(
        runs=runs,
        metric=chosen,
        baseline=against,
        warnings=[*_not_deciding(task, chosen), *checks.warnings(runs)],
        differences=checks.configuration_differences(runs),
        results=results_of(runs, chosen),
        comparisons=comparisons,
        target=target,
        costs=[] if target is None else costs_of(runs, chosen, target),
        tuning=tuning(runs),
        verdict="\n".join(filter(None, [verdict, *unpaired])),
    )


def _metric(runs: Sequence[Run], task: str, name: str | None) -> Metric:
    known = METRICS.get(task)
    if known is None:
        raise UserError(
            f"the task {task!r} is not known, nor what it is judged by; known are {', '.join(METRICS)}"
        )
    measured = [run for run in runs if run.epochs]
    if not measured:
        ended = [run for run in runs if run.state in ("failed", "non_finite")]
        told = "; ".join(f"{run.name} {run.standing}: {run.message}".rstrip(": ") for run in ended)
        raise UserError(
            f"none of the runs has finished an epoch{f' ({told})' if told else ' yet'}, so that there is "
            f"nothing to compare; {'give others or resume these' if told else 'wait for one'}"
        )
    if name is None:
        common = [metric for metric in known if all(metric in run.metrics() for run in measured)]
        if common:
            return common[0]
        told = "; ".join(f"{run.name}: {_names(run.metrics()) or 'none'}" for run in measured)
        raise UserError(f"the runs have no metric in common ({told}); compare others")
    metric = next((metric for metric in known if metric.name == name), None)
    if metric is None:
        raise UserError(f"no metric is called {name!r}{nearest(name, [metric.name for metric in known])}")
    lacking = next((run for run in measured if metric not in run.metrics()), None)
    if lacking is not None:
        raise UserError(
            f"{lacking.name} has no figures of the metric {name!r}; it has "
            f"{_names(lacking.metrics()) or 'none'}: choose one that all runs have"
        )
    return metric


def _names(metrics: Iterable[Metric]) -> str:
    return ", ".join(metric.name for metric in metrics)


def _not_deciding(task: str, metric: Metric) -> list[str]:
    deciding = METRICS[task][0]
    if metric == deciding:
        return []
    return [
        f"What is compared is {metric.name} ({metric.title}), not what decides this task, {deciding.name} "
        f"({deciding.title})."
    ]


def _baseline(runs: Sequence[Run], name: str | None) -> str:
    contenders = by_contender(runs)
    if name is None:
        return suite_baseline(runs) or runs[0].contender
    if name in contenders:
        return name
    for run in runs:
        if name in (run.name, str(run.source)):
            return run.contender
    raise UserError(f"no contender is called {name!r}{nearest(name, contenders)}")


def _paired(runs: Sequence[Run], baseline: str, all_pairs: bool) -> tuple[list[Run], list[str]]:
    """The runs of contenders that can be paired by seed, none if there is no pair, and why others cannot."""
    seeds = {contender: {run.seed for run in own} - {None} for contender, own in by_contender(runs).items()}
    if baseline not in seeds:
        return [], [f"{baseline} has no figures yet: nothing can be compared with it."]
    if len(seeds) == 1:
        return [], [f"Only {baseline} has figures: there is nothing to compare it with."]
    partners = set(seeds) if all_pairs else {baseline}
    lonely = [
        contender
        for contender, own in seeds.items()
        if not any(own & seeds[other] for other in partners - {contender})
    ]
    reasons = [
        f"{contender} has no seed in common with {'any other' if all_pairs else baseline}, and is not paired."
        for contender in lonely
        if contender != baseline or all_pairs
    ]
    kept = [
        run for run in runs if run.contender not in lonely or (run.contender == baseline and not all_pairs)
    ]
    return kept if len(by_contender(kept)) > 1 else [], reasons


def _comparisons(runs: Sequence[Run], options: dict[str, Any]) -> list[Comparison]:
    """By the last and the best evaluations and each budget; the budgets of one pair follow one another."""
    found = [c for at in ("final", "best") for c in analysis.compare(runs, budget=BUDGETS, at=at, **options)]
    pairs = list(dict.fromkeys((c.baseline, c.rival) for c in found))
    return sorted(found, key=lambda c: (c.at == "best", pairs.index((c.baseline, c.rival))))
