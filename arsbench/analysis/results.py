"""What each contender reached, and what that took."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from arsbench.analysis import BUDGETS, Run, cost_to_target
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import counted
from arsbench.analysis.runs import WHOLE
from arsbench.metrics import Metric, best_point, first_reaching


@dataclass(frozen=True)
class Result:
    """What a contender reached, and what that took, by the runs that stand for it (`pairing.counted`).

    Attributes:
        seeds: of all its runs, in their order.
        states: of all its runs.
        diverged: how many of them diverged, with finite numbers or others.
        finals: the metric after the last epoch of each run that has it; NaN of a run that diverged.
        bests: the metric's best value of each run that has any.
        steps, passes, seconds: means over these runs at their ends; None where a run does not tell.
        peak_mib: the highest of any run, of a GPU's memory where one was used; None where none tells.
        on_gpu: whether that is a GPU's.
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
        """Whether every run is finished and none diverged."""
        return self.diverged == 0 and set(self.states) <= set(WHOLE)

    @property
    def mean(self) -> float | None:
        """Of the final values; NaN if one of them is."""
        return statistics.fmean(self.finals) if self.finals else None

    @property
    def median(self) -> float | None:
        """Of the final values; NaN if one of them is."""
        if any(math.isnan(value) for value in self.finals):
            return math.nan
        return statistics.median(self.finals) if self.finals else None

    @property
    def best(self) -> float | None:
        """The mean of the best values."""
        return statistics.fmean(self.bests) if self.bests else None


@dataclass(frozen=True)
class Cost:
    """What a contender spent until the target.

    Attributes:
        reached: how many of its runs came there.
        runs: of how many; those that have not ended are left out.
        medians: by budget, over the runs, one that did not come there counting as infinite; None where a run
            does not tell.
    """

    contender: str
    reached: int
    runs: int
    medians: dict[str, float | None]


def results_of(runs: Sequence[Run], metric: Metric) -> list[Result]:
    """A result per contender, in the order in which contenders first appear."""
    return [_result(contender, members, metric) for contender, members in by_contender(runs).items()]


def costs_of(runs: Sequence[Run], metric: Metric, target: float) -> list[Cost]:
    """What each contender spent until its metric was as good as `target`."""
    costs = []
    for contender, members in by_contender(runs).items():
        own = counted(members)
        reaching = [first_reaching(run.history(metric), metric, target) is not None for run in own]
        medians: dict[str, float | None] = {}
        for budget in BUDGETS:
            spent = [cost_to_target(run, metric, target, budget) for run in own]
            medians[budget] = None if None in spent else statistics.median(spent)
        costs.append(Cost(contender, sum(reaching), len(own), medians))
    return costs


def _result(contender: str, runs: Sequence[Run], metric: Metric) -> Result:
    own = counted(runs)
    histories = [points for run in own if (points := run.history(metric))]
    peak = _peak(own, "peak_gpu_mib")
    return Result(
        contender=contender,
        seeds=tuple(run.seed for run in runs),
        states=tuple(run.state for run in runs),
        diverged=sum(run.diverged for run in runs),
        finals=tuple(_final(run, metric) for run in own if run.diverged or run.history(metric)),
        bests=tuple(best_point(points, metric).value for points in histories),
        peak_mib=_peak(own, "peak_rss_mib") if peak is None else peak,
        on_gpu=peak is not None,
        **{budget: _mean([points[-1].spent(budget) for points in histories]) for budget in BUDGETS},
    )


def _final(run: Run, metric: Metric) -> float:
    return math.nan if run.diverged else run.history(metric)[-1].value


def _mean(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else statistics.fmean(values)


def _peak(runs: Sequence[Run], key: str) -> float | None:
    values = [record.get(key) for run in runs for record in run.epochs]
    return max((value for value in values if value is not None), default=None)
