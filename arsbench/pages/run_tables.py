"""The tables of runs as data: time and memory, epochs, machines, the numbers of a chart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from arsbench.analysis import BUDGETS, Run
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.overview import Overview
from arsbench.analysis.pairing import counted
from arsbench.analysis.results import Result
from arsbench.analysis.wording import by_value, listed
from arsbench.metrics import MILESTONES, Metric, milestones, task_name
from arsbench.pages.chart_data import Chart, thinned
from arsbench.pages.run_charts import peak, step_time
from arsbench.pages.table_model import Cell, Table, capital, contender_cells, cost_cell, number, table
from arsbench.report.columns import NOT_AVAILABLE, Column, seed_columns, text_of

# At most this many epochs of a run, and points of a curve, are listed.
_EPOCHS, _POINTS = 40, 8


def time_and_memory(overview: Overview) -> Table:
    """What each contender's runs took."""
    runs = {
        contender: [run for run in counted(members) if run.epochs]
        for contender, members in by_contender(overview.runs).items()
    }

    def rate(result: Result) -> float | None:
        return _mean(r.get("tokens_per_second") for run in runs[result.contender] for r in run.epochs)

    return table(
        "Time and memory by contender",
        {
            "Contender": contender_cells(overview.runs),
            **{b.capitalize(): lambda result, b=b: number(getattr(result, b), ",.0f") for b in BUDGETS},
            "ms/step": lambda result: number(_mean(map(step_time, runs[result.contender])), ",.1f"),
            "Targets/s": lambda result: number(rate(result), ",.0f"),
            "Peak resident MiB": lambda r: number(peak(runs[r.contender], "peak_rss_mib"), ",.0f"),
            "Peak GPU MiB": lambda r: number(peak(runs[r.contender], "peak_gpu_mib"), ",.0f"),
        },
        overview.results,
        "Means over the runs: optimizer steps, forward-backward passes and seconds of training, without "
        "evaluation where a run records it. Memory: the highest of any run.",
    )


def first_epochs(runs: Sequence[Run]) -> Table | None:
    """The first epoch of each validation accuracy on modular addition; None for other tasks."""
    if task_name(runs[0].task) != "mod_addition":
        return None
    medians: dict[str, dict[float, float]] = {}
    for contender, members in by_contender(runs).items():
        reached = [milestones(run.before_divergence(run.epochs)) for run in counted(members)]
        medians[contender] = {
            target: statistics.median(p.epoch if (p := points[target]) else math.inf for points in reached)
            for target in MILESTONES
        }
    return table(
        "First epoch with this validation accuracy, median over the runs",
        {
            "Contender": contender_cells(runs),
            **{
                f"{t:.0%}": lambda run, t=t: cost_cell(medians[run.contender][t], ",.10g") for t in MILESTONES
            },
        },
        [members[0] for members in by_contender(runs).values()],
    )


def all_runs(runs: Sequence[Run], metric: Metric) -> Table:
    """Each run with its last value of the metric."""
    contender = contender_cells(runs)
    last = {run.name: points[-1] if (points := run.history(metric)) else None for run in runs}
    return table(
        f"All runs: {metric.title}",
        {
            "Run": lambda run: replace(contender(run), text=run.name),
            "Final": lambda run: number(p.value if (p := last[run.name]) else None, metric.text),
            "State": lambda run: run.standing,
            "Epochs": lambda run: number(p.epoch if (p := last[run.name]) else None, "d"),
            **{
                b.capitalize(): lambda run, b=b: number(p.spent(b) if (p := last[run.name]) else None, ",.0f")
                for b in BUDGETS
            },
            "Seed": lambda run: number(run.seed, "d"),
            "Contender": lambda run: run.contender,
        },
        runs,
    )


def epochs(run: Run) -> Table:
    """The epochs of a run, its metrics first; of long runs every n-th epoch and the last."""
    stride = math.ceil(len(run.epochs) / _EPOCHS)
    kept = [record for i, record in enumerate(run.epochs, start=1) if i % stride == 0 or i == len(run.epochs)]
    metrics = [Column(capital(metric.title), metric.path, ".4f") for metric in run.metrics()]
    shown = {metric.path for metric in metrics} | {("task",)}
    epoch, *others = [c for c in seed_columns(run.epochs, run.task, as_found=False) if c.path not in shown]
    others.sort(key=lambda column: column.path[-1] == "cos_pos_0")  # the last position of the cycle
    columns = {
        column.header: lambda record, c=column: Cell(c.format(c.value(record)), c.value(record))
        for column in (epoch, *metrics, *others)
    }
    return table("Epochs" if stride == 1 else f"Every {stride} epochs, and the last", columns, kept)


def machines(runs: Sequence[Run]) -> tuple[Table | None, Table | None]:
    """Machine and versions of the runs: what differs (None without any), and all (None without data)."""
    groups = by_value([run for run in runs if run.environment], lambda run: _facts(run.environment))
    if not groups:
        return None, None
    facts = dict.fromkeys(fact for values, _ in groups for fact in values)
    rows = {fact: [values.get(fact, NOT_AVAILABLE) for values, _ in groups] for fact in facts}
    names = [listed([run.name for run in members]) for _, members in groups] if len(groups) > 1 else ["Value"]
    columns = {"Fact": str} | {name: lambda fact, i=i: rows[fact][i] for i, name in enumerate(names)}
    differing = [fact for fact, values in rows.items() if len(set(values)) > 1]
    return (
        table("Facts that differ", columns, differing) if differing else None,
        table("Machine and versions", columns, facts),
    )


def chart_values(chart: Chart) -> Table:
    """The numbers of a chart: its bars or positions, or a few points of each curve."""
    statistic = "Highest of any run" if chart.name == "memory" else "Mean"
    headers = ["Contender", capital(chart.x_title), statistic, "Lowest", "Highest"]
    rows, shortened = [], False
    for series in chart.series:
        kept = thinned(len(series.x), _POINTS if chart.form == "curves" else len(series.x))
        shortened = shortened or len(kept) < len(series.x)
        for i in kept:
            x = Cell(chart.ticks.get(series.x[i], f"{series.x[i]:,.10g}"), series.x[i])
            values = (series.mean[i], series.low[i], series.high[i])
            rows.append([Cell(series.label), x, *(Cell(f"{value:,.5g}", value) for value in values)])
    kept = [0, *([1] if chart.x_title else []), 2, *([3, 4] if chart.has_ranges else [])]
    caption = f"{chart.title}: {chart.y_title}{', selected points' if shortened else ''}"
    return Table(caption, [headers[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _facts(environment: dict[str, Any]) -> dict[str, str]:
    """A text for each fact, and for the backend of each op."""
    facts: dict[str, str] = {}
    for name, value in environment.items():
        inner = value.items() if isinstance(value, dict) else ()
        facts |= {f"{name}: {key}": text_of(nested) for key, nested in inner} or {name: text_of(value)}
    return facts


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.fmean(present) if present else None
