"""The tables of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from arsbench.analysis import BUDGETS, Comparison
from arsbench.analysis.checks import UNKNOWN
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.overview import Overview
from arsbench.analysis.wording import in_digits
from arsbench.metrics import Metric
from arsbench.pages.table_model import (
    NOT_SET,
    Cell,
    Table,
    capital,
    contender_cells,
    cost_cell,
    number,
    table,
)
from arsbench.report.columns import NOT_AVAILABLE, text_of

_EXPLAINED = {
    NOT_SET: f"{NOT_SET}: the contender has no such key, or it is not set.",
    UNKNOWN: f"{UNKNOWN}: not reported.",
}


def results(overview: Overview) -> Table:
    """The deciding metric of each contender."""
    metric = overview.metric
    direction = "higher" if metric.higher_is_better else "lower"
    return table(
        "Results by contender",
        {
            "Contender": contender_cells(overview.runs),
            "Mean": lambda result: number(result.mean, metric.text),
            "Median": lambda result: number(result.median, metric.text),
            "Range": lambda result: _range(result.finals, metric),
            "Best": lambda result: number(result.best, metric.text),
            "Runs": lambda result: _count(len(result.finals), len(result.states)),
        },
        overview.results,
        f"{capital(metric.title)} after the last epoch of each run; {direction} is better. Mean, median and "
        "range are over the runs. Best is the mean of each run's best evaluation.",
    )


def baseline_of(overview: Overview) -> str | None:
    """The contender that all others are compared with; None where all pairs are compared."""
    baselines = {comparison.baseline for comparison in overview.comparisons}
    return baselines.pop() if len(baselines) == 1 else None


def pairs_note(overview: Overview) -> str:
    """How to read the tables of `pairs`."""
    baseline = baseline_of(overview)
    who = f"contender minus {baseline}" if baseline else "first of the pair minus second"
    count = sum(comparison.at == "final" for comparison in overview.comparisons)
    correction = f" p corrected for all {count} comparisons; it" if count > 1 else " p, which"
    return (
        f"{capital(overview.metric.title)}. Difference: mean of the {who} over the n seeds in common, at "
        "the largest budget that all their runs reached, interpolated between evaluations. d_z: Cohen's "
        f"effect size for paired samples. Holm p:{correction} decides the verdict."
    )


def pairs(overview: Overview, at: str) -> list[Table]:
    """Differences paired by seed, a table for each budget.

    `at` is "final" for the values at the budget, or "best" for the best ones up to it.
    """
    columns: dict[str, Callable[[Comparison], Cell | str]]
    columns = {"Pair": lambda pair: f"{pair.rival} − {pair.baseline}"}
    if baseline_of(overview):
        columns = {"Contender": contender_cells(overview.runs, "rival")}
    columns |= {
        "Difference": lambda pair: number(pair.difference, "+.4f"),
        "Verdict": lambda pair: pair.verdict,
        "95 % CI": lambda pair: _range_cell(pair.interval, lambda end: in_digits(end, "+.4f")),
        "Holm p": lambda pair: _p_cell(pair.p_adjusted),
        "p": lambda pair: _p_cell(pair.p_value),
        "d_z": lambda pair: number(pair.effect_size, "+.2f"),
        "n": lambda pair: number(len(pair.seeds), "d"),
    }
    start = "Best value up to the budget, at" if at == "best" else "At"
    by_budget = {b: [c for c in overview.comparisons if (c.at, c.budget) == (at, b)] for b in BUDGETS}
    return [table(f"{start} equal {b}", columns, members) for b, members in by_budget.items() if members]


def costs(overview: Overview) -> Table | None:
    """What each contender spent to reach the target; None without a target."""
    if overview.target is None:
        return None
    target = overview.metric.text(overview.target)
    columns = {
        "Contender": contender_cells(overview.runs),
        "Reached by": lambda cost: _count(cost.reached, cost.runs, always=True),
        **{b.capitalize(): lambda cost, b=b: cost_cell(cost.medians[b], ",.0f") for b in BUDGETS},
    }
    return table(
        f"Cost to reach {target}",
        columns,
        overview.costs,
        f"Spent until the {overview.metric.title} reached {target}: median over the runs, counted at "
        "evaluations. A run that did not reach it counts as infinite.",
    )


def tuning(tuned: dict[str, dict[str, Any]]) -> Table | None:
    """What tuning cost and found, by contender; None where nothing was tuned."""

    def best(item: tuple[str, dict[str, Any]]) -> str:
        settings = (item[1].get("best") or {}).items()
        return ", ".join(f"{key} = {_setting(value)}" for key, value in settings) or NOT_AVAILABLE

    spent = {"Trials": "trials", "Pruned": "pruned", "Diverged": "non_finite"}
    spent |= {budget.capitalize(): budget for budget in BUDGETS}
    columns = {
        "Contender": lambda item: item[0],
        **{h: lambda item, key=key: number(item[1].get(key), ",.0f") for h, key in spent.items()},
        "Best value": lambda item: number(item[1].get("value")),
        "Best settings": best,
    }
    return table("Tuning by contender", columns, tuned.items()) if tuned else None


def differences(overview: Overview) -> list[Table]:
    """The configuration keys in which contenders differ, and those that only some of them have set."""
    contenders, names = by_contender(overview.runs), [run.name for run in overview.runs]
    cells: dict[str, list[Cell]] = {}
    partial: list[list[Cell]] = []
    for key, values in overview.differences:
        by_run = dict(zip(names, values, strict=True))
        row = [_settings_cell([by_run[run.name] for run in runs]) for runs in contenders.values()]
        having = {name: cell for name, cell in zip(contenders, row, strict=True) if cell.text != NOT_SET}
        if len({cell.text for cell in having.values()}) > 1:
            cells[key] = row
        else:
            partial.append([Cell(key), next(iter(having.values())), Cell(", ".join(having))])
    texts = {cell.text for row in cells.values() for cell in row}
    note = " ".join(sentence for text, sentence in _EXPLAINED.items() if text in texts)
    headers, rows = ["Key", *contenders], [[Cell(key), *row] for key, row in cells.items()]
    if 0 < len(cells) < len(contenders):  # the table that is less wide
        headers, columns = ["Contender", *cells], zip(*cells.values(), strict=True)
        rows = [[Cell(name), *column] for name, column in zip(contenders, columns, strict=True)]
    tables = [
        Table("Configuration keys that differ", headers, rows, note),
        Table("Configuration keys that only some contenders have", ["Key", "Value", "Only for"], partial),
    ]
    return [table for table in tables if table.rows]


def _range(values: Sequence[float], metric: Metric) -> Cell:
    if any(map(math.isnan, values)):
        return number(math.nan)
    return _range_cell((min(values), max(values)) if values else None, metric.text)


def _range_cell(ends: tuple[float, float] | None, text: Callable[[float], str]) -> Cell:
    return Cell(" to ".join(dict.fromkeys(map(text, ends))), ends[0]) if ends else number(None)


def _count(count: int, total: int, *, always: bool = False) -> Cell:
    return Cell(f"{count} of {total}" if always or count < total else str(count), count)


def _p_cell(value: float | None) -> Cell:
    return Cell("<0.001", value) if value is not None and value < 0.001 else number(value, ".3f")


def _setting(value: Any) -> str:
    if value is None:
        return NOT_SET
    return f"{value:.6g}" if isinstance(value, float) else text_of(value)


def _settings_cell(values: Sequence[Any]) -> Cell:
    """A contender's value, or values where its runs differ; a run that has not started may not report it."""
    reported = [value for value in values if value != UNKNOWN] or [UNKNOWN]
    texts = list(dict.fromkeys(map(_setting, reported)))
    is_number = len(texts) == 1 and type(reported[0]) in (int, float)
    return Cell(" / ".join(texts), reported[0] if is_number else None)
