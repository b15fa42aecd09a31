"""The sections of a page that show what came out; each is "" where runs have nothing to show in it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from arsbench.analysis import Comparison, Run
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.overview import Overview
from arsbench.analysis.pairing import counted
from arsbench.analysis.wording import in_digits
from arsbench.metrics import BUDGETS, Metric, best_point, milestones, task_name
from arsbench.pages.cells import p_value
from arsbench.pages.html_parts import (
    Cell,
    capital,
    details,
    items,
    metric_value,
    number,
    paragraph,
    places_of,
    section,
    table,
)
from arsbench.report.columns import NOT_AVAILABLE, Column, seed_columns, text_of

_ENDED = {
    "running": "had not finished when this was written",
    "finished": "finished",
    "interrupted": "was interrupted and can be resumed",
    "non_finite": "stopped because a number was no longer finite",
    "imported": "was read from a report",
    "waiting": "has not begun",
    "failed": "failed",
}
# As many of a single run's epochs are written out.
_EPOCHS = 40


def verdict(runs: Sequence[Run], found: Overview | None) -> str:
    """The page's first sentences: who is better, or how the only contender did."""
    contenders = by_contender(runs)
    if found is None:
        texts = [f"{_ending(runs[0])}." if len(runs) == 1 else "No run has a figure yet."]
    elif len(contenders) > 1:
        texts = found.verdict.strip().split("\n")
    else:
        texts = [_single(runs, found)]
    title = "Verdict" if len(contenders) > 1 else "Outcome"
    return section("verdict", title, *map(paragraph, texts))


def results(runs: Sequence[Run], found: Overview | None) -> str:
    """Contenders, runs, and for a single run its epochs."""
    if found is None:
        return ""
    several = len(runs) > 1
    return section(
        "results",
        "Results",
        _contenders(found) if several else "",
        _milestones(runs),
        details("Every run", _runs(runs, found.metric)) if several else _epochs(runs[0]),
    )


def comparisons(found: Overview | None) -> str:
    """Differences paired by seed."""
    if found is None or not found.comparisons:
        return ""
    final, best = ([c for c in found.comparisons if c.at == at] for at in ("final", "best"))
    return section(
        "comparisons",
        "Paired by seed",
        paragraph(
            f"{capital(found.metric.title)}: mean of the first of a pair less that of the second over the "
            "seeds that both have, at the largest budget that all their runs reached, interpolated between "
            "evaluations. d_z is Cohen's effect size; Holm p is p corrected for the number of comparisons in "
            "the table, and decides."
        ),
        _pairs("Differences paired by seed, at the budget", final),
        details("The best up to it", _pairs("The same for the best up to the budget", best)),
    )


def _pairs(caption: str, comparisons: Sequence[Comparison]) -> str:
    rows = []
    for one in comparisons:
        low, high = one.interval or (None, None)
        ends = () if low is None else (in_digits(low, "+.4f"), in_digits(high, "+.4f"))
        rows.append(
            [
                f"{one.rival} − {one.baseline}",
                one.budget,
                Cell(str(len(one.seeds)), len(one.seeds)),
                number(one.difference, "+.4f"),
                " to ".join(ends) or NOT_AVAILABLE,
                number(one.effect_size, "+.2f"),
                Cell(p_value(one.p_value), one.p_value),
                Cell(p_value(one.p_adjusted), one.p_adjusted),
                one.verdict,
            ]
        )
    headers = ["Pair", "Budget", "Seeds", "Difference", "95 % interval", "d_z", "p", "Holm p", "Verdict"]
    return table(caption, headers, rows, sortable=True)


def costs(found: Overview | None) -> str:
    """What it took to reach the target."""
    if found is None or found.target is None:
        return ""
    places = places_of(found.runs)
    rows = [
        [
            Cell(cost.contender, place=places[cost.contender]),
            f"{cost.reached} of {cost.runs}",
            *(_spent(cost.medians[budget]) for budget in BUDGETS),
        ]
        for cost in found.costs
    ]
    return section(
        "costs",
        f"Cost to reach {found.metric.text(found.target)}",
        paragraph(
            "Medians over the runs, counted at evaluations; a run that did not reach it counts as infinite."
        ),
        table(
            f"Spent until {found.metric.title} was as good as {found.metric.text(found.target)}",
            ["Contender", "Reached by", *map(str.capitalize, BUDGETS)],
            rows,
            sortable=True,
        ),
    )


def incomplete(runs: Sequence[Run]) -> str:
    """What failed or has not finished."""
    left = [run for run in runs if not run.whole]
    return section("incomplete", "Failures and unfinished runs", items(f"{_ending(run)}." for run in left))


def _contenders(found: Overview) -> str:
    places, metric = places_of(found.runs), found.metric
    rows = []
    for result in found.results:
        count, planned = len(result.finals), len(result.states)
        known = [value for value in result.finals if not math.isnan(value)]
        ends = (metric.text(min(known)), metric.text(max(known))) if len(known) > 1 else ()
        spread = " to ".join(ends) or NOT_AVAILABLE
        peak = number(result.peak_mib, ",.0f")
        rows.append(
            [
                Cell(result.contender, place=places[result.contender]),
                Cell(str(count) if count == planned else f"{count} of {planned}", count),
                metric_value(result.mean, metric),
                metric_value(result.median, metric),
                spread,
                metric_value(result.best, metric),
                number(result.steps, ",.0f"),
                number(result.passes, ",.0f"),
                number(result.seconds, ",.0f"),
                Cell(f"{peak.text} GPU", peak.value) if result.on_gpu else peak,
            ]
        )
    headers = [
        "Contender",
        "Runs",
        "Mean",
        "Median",
        "Range",
        "Best",
        "Steps",
        "Passes",
        "Seconds",
        "Peak MiB",
    ]
    better = "higher" if found.metric.higher_is_better else "lower"
    note = (
        f"{capital(found.metric.title)}, {better} is better, after each run's last epoch. Best is the mean "
        "of the runs' best evaluations. Steps, forward-backward passes and seconds of training are means per "
        "run; memory is the highest of any."
    )
    return paragraph(note) + table("Results by contender", headers, rows, sortable=True)


def _runs(runs: Sequence[Run], metric: Metric) -> str:
    places = places_of(runs)
    rows = []
    for run in runs:
        points = run.history(metric)
        last = points[-1] if points else None
        rows.append(
            [
                Cell(run.name, place=places[run.contender]),
                run.contender,
                Cell(text_of(run.seed), run.seed),
                run.standing,
                metric_value(last and last.value, metric),
                number(last and last.epoch, "d"),
                *(number(last and last.spent(budget), ",.0f") for budget in BUDGETS),
            ]
        )
    headers = ["Run", "Contender", "Seed", "State", "Final", "Epochs", *map(str.capitalize, BUDGETS)]
    return table(f"Every run: {metric.title}", headers, rows, sortable=True)


def _epochs(run: Run) -> str:
    """The table of the run's report, of long runs every so many epochs and the last."""
    stride = math.ceil(len(run.epochs) / _EPOCHS)
    kept = [record for i, record in enumerate(run.epochs, start=1) if i % stride == 0 or i == len(run.epochs)]
    columns = [c for c in seed_columns(run.epochs, run.task, as_found=run.imported) if c.header != "Task"]
    known = {column.path for column in columns}
    columns += [Column(capital(m.title), m.path, ".4f") for m in run.metrics() if m.path not in known]
    columns = [c for c in columns if any(c.value(record) is not None for record in kept)]
    rows = []
    for record in kept:
        values = [column.value(record) for column in columns]
        rows.append([Cell(c.format(v), v) for c, v in zip(columns, values, strict=True)])
    caption = "Epochs" if stride == 1 else f"Every {stride} epochs, and the last"
    return table(caption, [column.header for column in columns], rows, sortable=True)


def _milestones(runs: Sequence[Run]) -> str:
    """Of modular addition: the median first epoch of each accuracy."""
    if task_name(runs[0].task) != "mod_addition":
        return ""
    places, rows = places_of(runs), []
    for contender, members in by_contender(runs).items():
        reached = [milestones(run.before_divergence(run.epochs)) for run in counted(members)]
        row = [Cell(contender, place=places[contender])]
        for target in reached[0]:
            epochs = [point.epoch if (point := of_run[target]) else math.inf for of_run in reached]
            median = statistics.median(epochs)
            row.append(Cell("not reached" if median == math.inf else f"{median:,.10g}", median))
        rows.append(row)
    headers = ["Contender", *(f"{target:.0%}" for target in milestones([]))]
    caption = "First epoch with the validation accuracy, median over the runs"
    return table(caption, headers, rows, sortable=len(rows) > 1)


def _single(runs: Sequence[Run], found: Overview) -> str:
    metric, contender = found.metric, runs[0].contender
    if len(runs) > 1:
        (result,) = found.results
        finals = [value for value in result.finals if not math.isnan(value)]
        ended = (
            f"{metric.title} {_range(finals, metric)} at the end of {len(finals)} runs; " if finals else ""
        )
        diverged = len(result.finals) - len(finals)
        lost = f"{diverged} diverged; " if diverged else ""
        return f"{contender}: {ended}{lost}there is nothing to compare it with."
    (run,) = runs
    points = run.history(metric)
    if not points:  # it diverged before its first evaluation
        return f"{_ending(run)}."
    best = best_point(points, metric)
    before = "" if run.diverged_at is None else " before that"
    last = "" if best is points[-1] or before else f" and {metric.text(points[-1].value)} after the last"
    epoch = f"in epoch {best.epoch} of {max(points[-1].epoch, run.epochs[-1]['epoch'])}"
    return f"{_ending(run)}; its best {metric.title}{before} was {metric.text(best.value)}, {epoch}{last}."


def _range(values: Sequence[float], metric: Metric) -> str:
    low, high = metric.text(min(values)), metric.text(max(values))
    return low if low == high else f"from {low} to {high}"


def _ending(run: Run) -> str:
    """How the run stands, without a full stop."""
    steps = max((record["step"] for record in [*run.epochs, *run.steps] if record.get("step")), default=None)
    after = f" after step {steps:,d}" if steps and run.state not in ("waiting", "imported") else ""
    message = run.message.strip().rstrip(".")
    diverged = "" if run.diverged_at is None else f"diverged at step {run.diverged_at:,d} and "
    return f"{run.name} {diverged}{_ENDED[run.state]}{after}{f': {message}' if message else ''}"


def _spent(value: float | None) -> Cell:
    return Cell("not reached", value) if value == math.inf else number(value, ",.0f")
