"""The charts of runs: learning curves, gradient norm and PI, cosines, time and memory."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence

from arsbench.analysis import BUDGETS, Run, band
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import counted
from arsbench.metrics import METRICS, TASK_METRICS, Metric, task_name
from arsbench.pages.chart_data import BUDGET_TITLES, Chart, Series, thinned
from arsbench.pages.step_averages import ENOUGH_EPOCHS, by_steps

# A phone's screen is a few hundred pixels wide: more points of a curve would not be seen.
_POINTS = 120

_GRADIENT_NORM = Metric("grad_norm", "gradient norm", ("grad_norm",))
_INTEGRITY = Metric("pi", "PI", ("pi",), higher_is_better=True)
_DESCRIPTIONS = {
    "grad_norm": "Norm of the gradient that each update used.",
    "pi": "exp(−(entropy + gradient norm)), both averaged over the epoch.",
}
_LOSS_PER_TARGET = TASK_METRICS["wikitext2_line"].named("train_loss_strict")
_LOSS_WITH_PADDING = Metric("train_loss", "training loss (nats/target, padding counted)", ("train_loss",))


def charts(runs: Sequence[Run], metric: Metric | None = None) -> list[Chart]:
    """Every chart that these runs have data for.

    Args:
        runs: of one task, as `analysis.contenders.distinct` returns them.
        metric: the deciding one; by default the first of the task that any run has.
    """
    curves = (chart for _, by_budget in learning_curves(runs, metric) for chart in by_budget)
    return [*curves, *gradient_charts(runs), *cosine_charts(runs), *cost_charts(runs)]


def learning_curves(runs: Sequence[Run], metric: Metric | None = None) -> list[tuple[str, list[Chart]]]:
    """The deciding metric, the validation loss and the training loss, by each budget that any run reports."""
    measured = [
        m for m in METRICS.get(task_name(runs[0].task), ()) if any(m in run.metrics() for run in runs)
    ]
    deciding = [metric] if metric else measured[:1]
    losses = [m for m in measured if m.name == "loss"]
    losses += [_training_loss(runs, m) for m in measured if m.name == "train_loss"]
    shown = {m.name: m for m in [*deciding, *losses]}.values()
    by_budget = {budget: [chart for m in shown for chart in _curves(runs, m, budget)] for budget in BUDGETS}
    return [(budget, curves) for budget, curves in by_budget.items() if curves]


def gradient_charts(runs: Sequence[Run]) -> list[Chart]:
    """Gradient norm and PI by steps, or by time where no run reports its steps."""
    for budget in ("steps", "seconds"):
        curves = [chart for m in (_GRADIENT_NORM, _INTEGRITY) for chart in _curves(runs, m, budget)]
        if curves:
            return curves
    return []


def cosine_charts(runs: Sequence[Run]) -> list[Chart]:
    """The cosine of gradient and flatness vector over the cycle; none without a lazy step.

    The axis follows the cycle: positions 2, 3, ..., k - 1, and last position 0, the step before the next
    sync step.
    """
    values: dict[tuple[str, str], dict[int, list[float]]] = {}
    for run in runs:
        measured = [diagnostics for r in run.epochs if (diagnostics := r.get("diagnostics"))]
        for name, value in (measured[-1] if measured else {}).items():
            if match := re.fullmatch(r"cos_pos_(\d+)(_pre)?", name):
                when = "before" if match[2] else "after"
                values.setdefault((run.contender, when), {}).setdefault(int(match[1]), []).append(value)
    if not values:
        return []
    places = list(by_contender(runs))
    end = 1 + max(position for cosines in values.values() for position in cosines)
    series = []
    for (contender, when), cosines in values.items():
        x, by_x = zip(*sorted((position or end, cosine) for position, cosine in cosines.items()), strict=True)
        label, second = f"{contender}, {when} injection", when == "before"
        series.append(_series(label, places.index(contender), x, by_x, second=second))
    several = len(runs) > len(places)
    chart = Chart(
        "cosines",
        f"Cosine of gradient and flatness vector over the cycle{', mean over seeds' if several else ''}",
        "cos_pos of the last epoch, by the position of a lazy step in the cycle, after and before "
        f"injection{': means over the seeds, with their ranges' if several else ''}. Position 0 is the "
        "last step before the next sync step. Injection alone adds about α/√(1+α²).",
        "position in the cycle",
        "cosine",
        tuple(series),
        form="positions",
        ticks={x: f"{x % end}" for x in sorted({x for points in series for x in points.x})},
    )
    return [chart]


def cost_charts(runs: Sequence[Run]) -> list[Chart]:
    """Time per step and peak memory of the runs that count, where there are several contenders."""
    contenders = {contender: counted(members) for contender, members in by_contender(runs).items()}
    if len(contenders) < 2:
        return []
    key = "peak_rss_mib" if peak(runs, "peak_gpu_mib") is None else "peak_gpu_mib"
    memory = "resident memory" if key == "peak_rss_mib" else "GPU memory"
    times, peaks = [], []
    for place, (contender, members) in enumerate(contenders.items()):
        milliseconds = [time for run in members if (time := step_time(run)) is not None]
        if milliseconds:
            times.append(_series(contender, place, [0], [milliseconds]))
        if (highest := peak(members, key)) is not None:
            peaks.append(_series(contender, place, [0], [[highest]]))
    less = "Lower is better."
    ranges = f"{less} Line: the range over the runs." if any(t.low != t.high for t in times) else less
    title, unit = "Time per optimizer step, mean over runs", "milliseconds per step"
    highest_title = f"Peak {memory}, highest of any run"
    drawn = [
        Chart("time", title, ranges, "", unit, tuple(times), form="bars"),
        Chart("memory", highest_title, less, "", f"peak {memory} (MiB)", tuple(peaks), form="bars"),
    ]
    return [chart for chart in drawn if chart.series]


def step_time(run: Run) -> float | None:
    """Milliseconds per optimizer step; None where the run does not report it."""
    points = run.history(_LOSS_WITH_PADDING)
    if not points or not points[-1].steps or points[-1].seconds is None:
        return None
    return 1000 * points[-1].seconds / points[-1].steps


def peak(runs: Iterable[Run], key: str) -> float | None:
    """The highest value of a key in the runs' epochs, None without any."""
    values = (record.get(key) for run in runs for record in run.epochs)
    return max((value for value in values if value is not None), default=None)


def _training_loss(runs: Sequence[Run], recorded: Metric) -> Metric:
    """The loss per real target, as in validation, where all runs have it; or what they have, so titled."""
    if task_name(runs[0].task) != "wikitext2_line":
        return recorded
    trained = [run for run in runs if run.epochs]
    if all(_LOSS_PER_TARGET.value(record) is not None for run in trained for record in run.epochs):
        return _LOSS_PER_TARGET
    if all(run.config.get("train", {}).get("ignore_padding") for run in trained):
        return dataclasses.replace(recorded, title=_LOSS_PER_TARGET.title)
    return _LOSS_WITH_PADDING


def _curves(runs: Sequence[Run], metric: Metric, budget: str) -> Iterator[Chart]:
    """The chart of a metric by a budget; none where no run has both."""
    series, missing, contenders = [], [], by_contender(runs)
    for place, (contender, members) in enumerate(contenders.items()):
        reporting = [run for run in by_steps(members, metric) if _reports(run, metric, budget)]
        if reporting:
            curve = band(reporting, metric, budget)
            kept = thinned(len(curve.x), _POINTS)
            columns = ([column[i] for i in kept] for column in (curve.x, curve.mean, curve.low, curve.high))
            series.append(Series(contender, place, *map(tuple, columns)))
        elif any(run.epochs for run in members):
            missing.append(contender)
    if not any(points.x for points in series):
        return
    log = metric is _GRADIENT_NORM and _spans_decades(series)
    top = None if log or metric.higher_is_better else _top(series)
    title, several = re.sub(r" \(.*", "", metric.title), len(runs) > len(contenders)
    direction = "Higher is better." if metric.higher_is_better else "Lower is better."
    sentences = [
        _DESCRIPTIONS.get(metric.name, direction),
        "Line: mean over the seeds; band: their range." if several else "",
        "" if top is None else f"Values above {top:.3g}, at the start, are cut off.",
        f"No data for {', '.join(missing)}." if missing else "",
    ]
    yield Chart(
        f"{metric.name.replace('_', '-')}-by-{budget}",
        f"{title[:1].upper()}{title[1:]} by {budget}{', mean over seeds' if several else ''}",
        " ".join(filter(None, sentences)),
        BUDGET_TITLES[budget],
        metric.title,
        tuple(series),
        log=log,
        top=top,
    )


def _spans_decades(series: Iterable[Series]) -> bool:
    values = [value for points in series for value in points.mean if math.isfinite(value)]
    return bool(values) and min(values) > 0 and max(values) > 30 * min(values)


def _top(series: Sequence[Series]) -> float | None:
    """The highest value after the first fifth of the budget, if the start would take half of the height."""
    points = [
        (x, value)
        for s in series
        for x, value in zip((*s.x, *s.x), (*s.low, *s.high), strict=True)
        if math.isfinite(value)
    ]
    if not points or max(len(s.x) for s in series) < ENOUGH_EPOCHS:
        return None
    start = max(x for x, _ in points) / 5
    lowest, highest = min(value for _, value in points), max(value for _, value in points)
    later = max((value for x, value in points if x >= start), default=highest)
    cut = lowest + 1.05 * (later - lowest)
    return cut if later > lowest and highest - lowest > 2 * (cut - lowest) else None


def _reports(run: Run, metric: Metric, budget: str) -> bool:
    points = run.history(metric)
    return bool(points) and all(point.spent(budget) is not None for point in points)


def _series(
    label: str, place: int, x: Sequence[float], values: Sequence[Sequence[float]], *, second: bool = False
) -> Series:
    means, low, high = (tuple(map(f, values)) for f in (statistics.fmean, min, max))
    return Series(label, place, tuple(x), means, low, high, second)
