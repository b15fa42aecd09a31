"""The results of each contender."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import counted
from arsbench.analysis.runs import BUDGETS, FINISHED, Run
from arsbench.metrics import Metric, best_point


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


def results_of(runs: Sequence[Run], metric: Metric) -> list[Result]:
    """A result per contender, in the order in which contenders first appear."""
    return [_result(contender, members, metric) for contender, members in by_contender(runs).items()]


def _result(contender: str, runs: Sequence[Run], metric: Metric) -> Result:
    counting = counted(runs)
    histories = [points for run in counting if (points := run.history(metric))]
    gpu_peak = _peak(counting, "peak_gpu_mib")
    return Result(
        contender=contender,
        seeds=tuple(run.seed for run in runs),
        states=tuple(run.state for run in runs),
        diverged=sum(run.diverged for run in runs),
        finals=tuple(_final(run, metric) for run in counting if run.diverged or run.history(metric)),
        bests=tuple(best_point(points, metric).value for points in histories),
        peak_mib=_peak(counting, "peak_rss_mib") if gpu_peak is None else gpu_peak,
        on_gpu=gpu_peak is not None,
        **{budget: _mean([points[-1].spent(budget) for points in histories]) for budget in BUDGETS},
    )


def _final(run: Run, metric: Metric) -> float:
    return math.nan if run.diverged else run.history(metric)[-1].value


def _mean(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else statistics.fmean(values)


def _peak(runs: Sequence[Run], key: str) -> float | None:
    values = [record.get(key) for run in runs for record in run.epochs]
    return max((value for value in values if value is not None), default=None)
