"""The results of each contender, and its cost of reaching a target."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import counted
from arsbench.analysis.runs import BUDGETS, FINISHED, Run
from arsbench.errors import UserError
from arsbench.metrics import Metric, best_point, first_reaching


@dataclass(frozen=True)
class Result:
    """A contender's results, over the runs that count for it (`pairing.counted`).

    Attributes:
        seeds: of all its runs, in their order.
        states: of all its runs.
        diverged: the number of its runs that diverged.
        finals: the metric after the last epoch of each run that has it; NaN for a run that diverged.
        bests: the best value of each run that has any.
        steps, passes, seconds: means over the runs at their ends; None where a run has no data.
        peak_mib: the highest peak memory of any run (MiB), of the GPU where one was used, or None.
        on_gpu: whether `peak_mib` is GPU memory.
    """

    contender: str
    seeds: tuple[int | None, ...]
    states: tuple[str, ...]
    diverged: int
    finals: tuple[float, ...]
    bests: tuple[float, ...]
    steps: float | None
    passes: float | None
    seconds: float | None
    peak_mib: float | None
    on_gpu: bool

    @property
    def whole(self) -> bool:
        """Whether every run finished and none diverged."""
        return self.diverged == 0 and set(self.states) <= set(FINISHED)

    @property
    def mean(self) -> float | None:
        """The mean of the final values; NaN if one of them is NaN."""
        return statistics.fmean(self.finals) if self.finals else None

    @property
    def median(self) -> float | None:
        """The median of the final values; NaN if one of them is NaN."""
        if any(math.isnan(value) for value in self.finals):
            return math.nan
        return statistics.median(self.finals) if self.finals else None

    @property
    def best(self) -> float | None:
        """The mean of the best values."""
        return statistics.fmean(self.bests) if self.bests else None


@dataclass(frozen=True)
class Cost:
    """What a contender spent to reach the target.

    Attributes:
        reached: the number of its runs that reached it.
        runs: the number of runs that count for it.
        medians: by budget, over these runs, infinite for a run that did not reach it; None where a run has
            no data.
    """

    contender: str
    reached: int
    runs: int
    medians: dict[str, float | None]


def results_of(runs: Sequence[Run], metric: Metric) -> list[Result]:
    """A result per contender, in the order in which contenders first appear."""
    return [_result(contender, members, metric) for contender, members in by_contender(runs).items()]


def cost_to_target(run: Run, metric: Metric, target: float, budget: str) -> float | None:
    """What a run had spent at its first evaluation that reached the target.

    Args:
        budget: "steps", "passes" or "seconds".

    Returns:
        infinity where no evaluation reached it; None where the run has no data for the budget.
    """
    point = first_reaching(run.history(metric), metric, target)
    return math.inf if point is None else point.spent(budget)


def baseline_target(runs: Sequence[Run], metric: Metric, baseline: str) -> float:
    """The default target: the median of the best values of the baseline's runs; of an even number the worse.

    At least half of the runs reach it, and it is a measured value. Unfinished runs count only where no run
    is finished; values that are not finite do not count.

    Raises:
        UserError: the baseline has no values.
    """
    members = counted([run for run in runs if run.contender == baseline])
    bests = (best_point(points, metric).value for run in members if (points := run.history(metric)))
    values = sorted(filter(math.isfinite, bests), reverse=metric.higher_is_better)  # the best first
    if not values:
        raise UserError(f"the baseline {baseline!r} has no values of {metric.title}; choose another")
    return values[len(values) // 2]


def costs_of(runs: Sequence[Run], metric: Metric, target: float) -> list[Cost]:
    """What each contender spent to reach the target."""
    costs = []
    for contender, members in by_contender(runs).items():
        counting = counted(members)
        reached = sum(first_reaching(run.history(metric), metric, target) is not None for run in counting)
        spent = {b: [cost_to_target(run, metric, target, b) for run in counting] for b in BUDGETS}
        medians = {b: None if None in values else statistics.median(values) for b, values in spent.items()}
        costs.append(Cost(contender, reached, len(counting), medians))
    return costs


def _result(contender: str, runs: Sequence[Run], metric: Metric) -> Result:
    counting = counted(runs)
    histories = [points for run in counting if (points := run.history(metric))]
    gpu_peak = _peak(counting, "peak_gpu_mib")
    return Result(
        contender=contender,
        seeds=tuple(run.seed for run in runs),
        states=tuple(run.state for run in runs),
        diverged=sum(run.diverged for run in runs),
        finals=tuple(
            math.nan if run.diverged else run.history(metric)[-1].value
            for run in counting
            if run.diverged or run.history(metric)
        ),
        bests=tuple(best_point(points, metric).value for points in histories),
        peak_mib=_peak(counting, "peak_rss_mib") if gpu_peak is None else gpu_peak,
        on_gpu=gpu_peak is not None,
        **{budget: _mean([points[-1].spent(budget) for points in histories]) for budget in BUDGETS},
    )


def _mean(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else statistics.fmean(values)


def _peak(runs: Sequence[Run], key: str) -> float | None:
    values = [record.get(key) for run in runs for record in run.epochs]
    return max((value for value in values if value is not None), default=None)
