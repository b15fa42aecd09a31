"""What the charts show, as data: `charts` draws it, and the page writes it out as tables besides."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from arsbench.analysis import BUDGETS, Run, band
from arsbench.analysis.contenders import by_contender
from arsbench.metrics import METRICS, Metric, task_name
from arsbench.pages.stretches import ENOUGH, TRAIN_LOSS, finer

AXES = {
    "steps": "optimizer steps",
    "passes": "forward-backward passes",
    "seconds": "seconds of training",
}

# A curve is drawn with at most as many points; a phone's screen has no more than a few hundred dots across.
_POINTS = 120

_GRADIENT_NORM = Metric("grad_norm", "gradient norm", ("grad_norm",))
_INTEGRITY = Metric("pi", "PI", ("pi",), higher_is_better=True)
_READING = {
    "grad_norm": "Of the gradient that each update consumed.",
    "pi": "exp(−(entropy + gradient norm)) of each epoch's means.",
}


@dataclass(frozen=True)
class Series:
    """A contender's values, medians over its runs with the range of them.

    Attributes:
        label: as it stands in the legend.
        place: the contender's number, which decides how it is drawn in every chart.
        x: one value only in a chart of bars.
        second: the second of two that a contender has in this chart.
    """

    label: str
    place: int
    x: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    second: bool = False


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        name: of a file, and unique on a page.
        description: a sentence or a few for those who do not see it, and how to read it for those who do.
        form: "curves", "positions" (few points that stand for themselves), "bars", or "shares" (steps of a
            performance profile).
        log: whether the values are drawn on a logarithmic scale.
        top: the highest value that is drawn, None for all.
        ticks: the names of places on the x axis, where they are not just numbers.
    """

    name: str
    title: str
    description: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    form: str = "curves"
    log: bool = False
    top: float | None = None
    ticks: dict[float, str] = dataclasses.field(default_factory=dict)


def charts(runs: Sequence[Run], metric: Metric | None = None) -> list[Chart]:
    """Every chart that these runs have figures for.

    Args:
        runs: of one task, as of `analysis.contenders.distinct`.
        metric: what decides; by default the first that any of them has.
    """
    return [
        *(chart for _, some in learning_curves(runs, metric) for chart in some),
        *course(runs),
        *cosines(runs),
        *costs(runs),
    ]


def learning_curves(runs: Sequence[Run], metric: Metric | None = None) -> list[tuple[str, list[Chart]]]:
    """For each budget that any run tells: the deciding metric, the validation loss and the training loss."""
    known = [m for m in METRICS.get(task_name(runs[0].task), ()) if any(m in run.metrics() for run in runs)]
    deciding = metric or next(iter(known), None)
    wanted = dict.fromkeys([deciding, *(m for m in known if m.name in ("loss", "train_loss"))])
    found = []
    for budget in BUDGETS:
        some = [chart for m in wanted if m is not None for chart in _curves(runs, m, budget)]
        if some:
            found.append((budget, some))
    return found


def course(runs: Sequence[Run]) -> list[Chart]:
    """Gradient norm and PI against steps, or where no run tells its steps, against time."""
    for budget in ("steps", "seconds"):
        some = [chart for m in (_GRADIENT_NORM, _INTEGRITY) for chart in _curves(runs, m, budget)]
        if some:
            return some
    return []


def cosines(runs: Sequence[Run]) -> list[Chart]:
    """cos_pos over the cycle after the last epoch, after injection and before; none without a lazy step."""
    series, cycles = [], set()
    for place, (contender, members) in enumerate(by_contender(runs).items()):
        measured = [diagnostics for run in members if (diagnostics := _last_diagnostics(run))]
        cycle = _cycle(members, measured)
        for second, ending in ((False, ""), (True, "_pre")):
            names = [name for d in measured for name in d if re.fullmatch(rf"cos_pos_\d+{ending}", name)]
            # The step after the last of a cycle is its first again: position 0 stands at its end.
            positions = sorted({int(name.split("_")[2]) or cycle for name in names})
            if positions:
                cycles.add(cycle)
                values = [
                    [d[key] for d in measured if (key := f"cos_pos_{x % cycle}{ending}") in d]
                    for x in positions
                ]
                when = "before" if second else "after"
                series.append(_series(f"{contender}, {when}", place, positions, values, second))
    if not series:
        return []
    places = sorted({x for one in series for x in one.x})
    ticks = {x: "0" if {x} == cycles else f"{x:g}" for x in places}
    at = " and ".join(f"{cycle:g}" for cycle in sorted(cycles))
    return [
        Chart(
            "cosines",
            "Cosine of gradient and flatness vector over the cycle",
            "cos_pos after the last epoch by a lazy step's position in the cycle, after the vector is "
            "injected and before: medians and ranges over the runs. Position 0 is the last before the next "
            f"sync step and stands at {at}. Injection by itself adds about α/√(1+α²).",
            "position in the cycle",
            "cosine",
            tuple(series),
            form="positions",
            ticks=ticks,
        )
    ]


def costs(runs: Sequence[Run]) -> list[Chart]:
    """Time per step and peak memory of each contender, where there are several to be told apart."""
    if len(by_contender(runs)) < 2:
        return []
    gpu = any(peak(run, "peak_gpu_mib") is not None for run in runs)
    memory = "GPU memory" if gpu else "resident memory"
    return [
        *_bars(runs, "time", "Time per optimizer step", "milliseconds per step", step_time),
        *_bars(
            runs,
            "memory",
            f"Peak {memory}",
            f"peak {memory} (MiB)",
            lambda run: peak(run, "peak_gpu_mib" if gpu else "peak_rss_mib"),
        ),
    ]


def step_time(run: Run) -> float | None:
    """Milliseconds of an optimizer step; None where the run does not tell."""
    points = run.history(TRAIN_LOSS)
    if not points or not points[-1].steps or points[-1].seconds is None:
        return None
    return 1000 * points[-1].seconds / points[-1].steps


def peak(run: Run, key: str) -> float | None:
    """The highest of a figure in the run's epochs, None where they do not tell it."""
    return max((v for record in run.epochs if (v := record.get(key)) is not None), default=None)


def _curves(runs: Sequence[Run], metric: Metric, budget: str) -> list[Chart]:
    series, missing = [], []
    for place, (contender, members) in enumerate(by_contender(runs).items()):
        told = [run for run in finer(members, metric) if _tells(run, metric, budget)]
        if told:
            curve = band(told, metric, budget)
            kept = _thinned(len(curve.x))
            columns = ([column[i] for i in kept] for column in (curve.x, curve.median, curve.low, curve.high))
            series.append(Series(contender, place, *map(tuple, columns)))
        elif any(run.epochs for run in members):
            missing.append(contender)
    if not any(one.x for one in series):
        return []
    log = metric is _GRADIENT_NORM and _wide(series)
    top = None if log or metric.higher_is_better else _top(series)
    title = re.sub(r" \(.*", "", metric.title)
    sentences = [
        _READING.get(metric.name, "Higher is better." if metric.higher_is_better else "Lower is better.")
    ]
    sentences.append(_spread(runs))
    if top is not None:
        sentences.append(f"The steep beginning, over {top:.3g}, lies beyond the upper edge.")
    if missing:
        sentences.append(f"Not told by: {', '.join(missing)}.")
    return [
        Chart(
            f"{metric.name.replace('_', '-')}-by-{budget}",
            f"{title if title == 'PI' else title.capitalize()} by {budget}",
            " ".join(filter(None, sentences)),
            AXES[budget],
            metric.title,
            tuple(series),
            log=log,
            top=top,
        )
    ]


def _spread(runs: Sequence[Run]) -> str:
    several = any(len(members) > 1 for members in by_contender(runs).values())
    return "The line is the median over the seeds, the band their range." if several else ""


def _wide(series: Iterable[Series]) -> bool:
    values = [value for one in series for value in one.median if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) > 30 * min(values)


def _top(series: Sequence[Series]) -> float | None:
    """What is reached after the first fifth of the budget, where that would take up half of the height."""
    points = [
        (x, value)
        for one in series
        for x, value in zip((*one.x, *one.x), (*one.low, *one.high), strict=True)
        if math.isfinite(value)
    ]
    if not points or max(len(one.x) for one in series) < ENOUGH:
        return None
    beginning = max(x for x, _ in points) / 5
    lowest, highest = min(value for _, value in points), max(value for _, value in points)
    later = max((value for x, value in points if x >= beginning), default=highest)
    cut = lowest + 1.05 * (later - lowest)
    return cut if later > lowest and highest - lowest > 2 * (cut - lowest) else None


def _tells(run: Run, metric: Metric, budget: str) -> bool:
    points = run.history(metric)
    return bool(points) and all(point.spent(budget) is not None for point in points)


def _thinned(count: int) -> list[int]:
    """The places of at most `_POINTS` of `count` points, both ends among them."""
    if count <= _POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (_POINTS - 1)) for i in range(_POINTS)]


def _last_diagnostics(run: Run) -> dict[str, float]:
    return next((d for record in reversed(run.epochs) if (d := record.get("diagnostics"))), {})


def _cycle(runs: Sequence[Run], measured: Sequence[dict[str, float]]) -> int:
    """How many steps lie between sync steps: `k`, or where no run tells it, one more than the positions."""
    known = [k for run in runs if isinstance(k := run.config.get("optimizer", {}).get("k"), int)]
    positions = [int(m[1]) for d in measured for name in d if (m := re.match(r"cos_pos_(\d+)", name))]
    return max([*known[:1], *(p + 1 for p in positions)], default=1)


def _bars(
    runs: Sequence[Run], name: str, title: str, y_title: str, value: Callable[[Run], float | None]
) -> list[Chart]:
    series = []
    for place, (contender, members) in enumerate(by_contender(runs).items()):
        values = [v for run in members if (v := value(run)) is not None]
        if values:
            series.append(_series(contender, place, [0], [values], False))
    if not series:
        return []
    description = f"Less is better. {_spread(runs).replace('line', 'bar').replace('band', 'whisker')}".strip()
    return [Chart(name, title, description, "", y_title, tuple(series), form="bars")]


def _series(
    label: str, place: int, x: Sequence[float], values: Sequence[Sequence[float]], second: bool
) -> Series:
    medians, low, high = (tuple(map(f, values)) for f in (statistics.median, min, max))
    return Series(label, place, tuple(x), medians, low, high, second)
