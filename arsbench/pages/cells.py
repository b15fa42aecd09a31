"""Figures as cells of tables that can be read in a terminal as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from arsbench.analysis.checks import UNKNOWN
from arsbench.analysis.wording import in_digits
from arsbench.metrics import Metric
from arsbench.report.columns import NOT_AVAILABLE, text_of
from arsbench.report.markup import cells_of, rows_of_markdown

NOT_REACHED = "not reached"

# What a suite's plan tells of a contender's tuning, by header.
TUNED = {
    "Trials": "trials",
    "Pruned": "pruned",
    "Diverged": "non_finite",
    "Steps": "steps",
    "Passes": "passes",
    "Seconds": "seconds",
}

_DIGITS = set("0123456789")
# What may stand in a column of figures beside them.
_NO_FIGURE = ("", "nan", NOT_AVAILABLE, NOT_REACHED)


def aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The cells padded to their columns' widths, figures to the right."""
    columns = []
    for header, *cells in zip(*rows, strict=True):
        width = max(map(len, (header, *cells)))
        figures = any(map(_is_figure, cells)) and all(_is_figure(c) or c in _NO_FIGURE for c in cells)
        columns.append([cell.rjust(width) if figures else cell.ljust(width) for cell in (header, *cells)])
    return [list(row) for row in zip(*columns, strict=True)]


def aligned_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of texts, headers first, as lines of Markdown whose columns stand below one another."""
    return rows_of_markdown(aligned(cells_of(rows)))


def figure(value: float | None, spec: str = ".4f") -> str:
    """A number as a cell; NaN has no sign."""
    if value is None:
        return NOT_AVAILABLE
    return "nan" if math.isnan(value) else in_digits(value, spec)


def metric_value(value: float | None, metric: Metric) -> str:
    """A metric's value as a cell."""
    return figure(value) if value is None or math.isnan(value) else metric.text(value)


def p_value(value: float | None) -> str:
    """A p-value as a cell."""
    return "<0.001" if value is not None and value < 0.001 else figure(value, ".3f")


def setting(value: Any) -> str:
    """A configuration's value as a cell; "none" of a key that an optimizer does not have."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return text_of(value)


def settings(values: Sequence[Any]) -> str:
    """A contender's value, or values where its runs differ; one that has not begun tells less than others."""
    known = [value for value in values if value != UNKNOWN]
    return " / ".join(dict.fromkeys(map(setting, known or [UNKNOWN])))


def best_settings(tuned: dict[str, Any]) -> str:
    """What tuning found best, as a cell."""
    best = (tuned.get("best") or {}).items()
    return ", ".join(f"{key} = {setting(value)}" for key, value in best) or NOT_AVAILABLE


def _is_figure(cell: str) -> bool:
    return cell.lstrip("+-−<> ")[:1] in _DIGITS
