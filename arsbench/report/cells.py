"""Figures as cells of tables that can be read in a terminal as well."""

from __future__ import annotations

from collections.abc import Sequence

from arsbench.report.columns import NOT_AVAILABLE

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


def figure(value: float | None, spec: str = ".4f") -> str:
    """A number as a cell."""
    return NOT_AVAILABLE if value is None else format(value, spec)


def p_value(value: float | None) -> str:
    """A p-value as a cell."""
    return "<0.001" if value is not None and value < 0.001 else figure(value, ".3f")


def _is_figure(cell: str) -> bool:
    return cell.lstrip("+-−<")[:1] in _DIGITS
