"""The pieces that a page is made of: tables, figures, lists; everything that runs told is escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from arsbench.analysis import Run
from arsbench.analysis.contenders import by_contender
from arsbench.metrics import Metric
from arsbench.pages import cells
from arsbench.pages.chart_data import Chart, Series
from arsbench.pages.charts import PALETTE
from arsbench.pages.svg import inline

# A chart's table shows so many points of each curve, enough to follow it.
_POINTS = 8
# Texts of more letters than this may be broken into lines in a cell.
_LONG = 32


@dataclass(frozen=True)
class Cell:
    """A table's cell.

    Attributes:
        text: what stands there.
        value: what it is sorted by, where that is a number.
        place: the contender's number in the charts, whose colour is shown.
    """

    text: str
    value: float | None = None
    place: int | None = None


def places_of(runs: Sequence[Run]) -> dict[str, int]:
    """The contenders' numbers in the charts."""
    return {contender: place for place, contender in enumerate(by_contender(runs))}


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def number(value: float | None, spec: str = ".4f") -> Cell:
    """A cell of a number that may be missing."""
    return Cell(cells.figure(value, spec), value)


def metric_value(value: float | None, metric: Metric) -> Cell:
    """A cell of a metric's value that may be missing."""
    return Cell(cells.metric_value(value, metric), value)


def section(name: str, title: str, *parts: str) -> str:
    """A section of the page, or "" where it has no content."""
    content = "\n".join(filter(None, parts))
    if not content:
        return ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{escape(title)}</h2>\n{content}\n</section>'
    )


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def items(texts: Iterable[str]) -> str:
    """A list, or "" of nothing."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{lines}</ul>" if lines else ""


def details(summary: str, content: str) -> str:
    """Content that is opened by its summary."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"


def code(value: Any) -> str:
    """A value as indented JSON."""
    return f"<pre tabindex='0'><code>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</code></pre>"


def table(
    caption: str, headers: Sequence[str], rows: Sequence[Sequence[Cell | str]], *, sortable: bool = False
) -> str:
    """A table in a container that scrolls by itself; "" without rows.

    Args:
        caption: what it is a table of.
        rows: the first cell of each names it.
        sortable: page.js makes buttons of its headers.
    """
    if not rows:
        return ""
    body = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    figures = [any(row[column].value is not None for row in body) for column in range(len(headers))]
    head = "".join(
        f"<th scope='col'{_class('n' if is_figure else '')}>{escape(header)}</th>"
        for header, is_figure in zip(headers, figures, strict=True)
    )
    lines = "\n".join(
        "<tr>" + "".join(_cell(c, figures[i], heads=i == 0) for i, c in enumerate(row)) + "</tr>"
        for row in body
    )
    return (
        f"<div class='scroll' role='region' tabindex='0' aria-label='{escape(caption)}'>\n"
        f"<table{' class=sortable' if sortable else ''}><caption><span>{escape(caption)}</span></caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def figure(chart: Chart) -> str:
    """A chart, what it shows in words, and its figures as a table."""
    return (
        f"<figure id='figure-{chart.name}'>\n{inline(chart)}\n"
        f"<figcaption><strong>{escape(chart.title)}.</strong> {escape(chart.description)}</figcaption>\n"
        f"{details('Figures as a table', _chart_table(chart))}\n</figure>"
    )


def _chart_table(chart: Chart) -> str:
    ranges = any(series.low != series.high for series in chart.series)
    values = ["Median", "Lowest", "Highest"] if ranges else ["Value"]
    axis = [] if chart.form == "bars" else [chart.x_title.capitalize()]
    rows, shortened = [], False
    for series in chart.series:
        kept = _spread(len(series.x)) if chart.form == "curves" else range(len(series.x))
        shortened = shortened or len(kept) < len(series.x)
        rows += [_chart_row(chart, series, i, ranges) for i in kept]
    some = ", some of the points" if shortened else ""
    return table(f"{chart.title}: {chart.y_title}{some}", ["Contender", *axis, *values], rows)


def _chart_row(chart: Chart, series: Series, i: int, ranges: bool) -> list[Cell | str]:
    x = (
        []
        if chart.form == "bars"
        else [Cell(chart.ticks.get(series.x[i], f"{series.x[i]:,.10g}"), series.x[i])]
    )
    columns = (series.median, series.low, series.high) if ranges else (series.median,)
    return [Cell(series.label), *x, *(Cell(f"{column[i]:,.5g}", column[i]) for column in columns)]


def _spread(count: int) -> list[int]:
    """The places of at most `_POINTS` of `count` points, both ends among them."""
    if count <= _POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (_POINTS - 1)) for i in range(_POINTS)]


def _class(name: str) -> str:
    return f" class='{name}'" if name else ""


def _cell(cell: Cell, is_figure: bool, *, heads: bool) -> str:
    text = escape(cell.text)
    if cell.place is not None:
        text = f"<span class='swatch' style='--own:var(--series-{cell.place % len(PALETTE)})'></span>{text}"
    known = cell.value is not None and not math.isnan(cell.value)
    value = f" data-value='{cell.value!r}'" if known else ""
    tag, scope = ("th", " scope='row'") if heads else ("td", "")
    kind = "n" if is_figure else "long" if len(cell.text) > _LONG else ""
    return f"<{tag}{scope}{_class(kind)}{value}>{text}</{tag}>"
