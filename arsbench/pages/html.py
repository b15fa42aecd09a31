"""A report as one self-contained HTML page: no network, no other file."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

from arsbench import __version__
from arsbench.analysis import Run
from arsbench.analysis.contenders import by_contender, distinct, suite_of
from arsbench.analysis.contenders import tuning as tuned
from arsbench.analysis.overview import Overview
from arsbench.analysis.overview import overview as compare_runs
from arsbench.errors import printable
from arsbench.files import atomic_write
from arsbench.pages import outcomes, run_charts, run_tables, tables
from arsbench.pages.chart_data import BUDGET_TITLES, Chart
from arsbench.pages.charts import GRID, INK, PALETTE, PAPER, picture
from arsbench.pages.table_model import Cell
from arsbench.report.rendering import fill

_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_DECIMALS = re.compile(r"-?\d+\.\d+")
_DROPPED = {f"{_SVG}metadata", f"{_SVG}style"}
# page.css defines these variables, for light and for dark mode.
_NAMES = {
    **{colour: f"var(--series-{number})" for number, colour in enumerate(PALETTE)},
    INK: "var(--ink)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
}


def write_page(runs: Sequence[Run], path: str | Path, overview: Overview | None = None) -> Path:
    """Write the page of one run, a suite, or any mixture, to `path`, which is replaced; returns `path`.

    The same runs give the same bytes.

    Args:
        runs: at least one, of one task.
        overview: their comparison; by default the one by the deciding metric, with the suite's baseline or
            the first run's contender.

    Raises:
        UserError: the runs cannot be compared, or the file cannot be written.
    """
    runs = distinct(runs)
    if overview is None and any(run.metrics() for run in runs):
        overview = compare_runs(runs)
    folder = files("arsbench.pages") / "templates"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    page = fill(
        "pages/templates/page.html.j2",
        suites={suite_of(run) for run in runs},
        version=__version__,
        style=style,
        script=script,
        # Only this script may run, and nothing may be loaded from anywhere.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        runs=runs,
        overview=overview,
        contenders=by_contender(runs),
        outcome=outcomes.outcome(runs, overview),
        endings=outcomes.endings(runs),
        curves=run_charts.learning_curves(runs, overview.metric if overview else None),
        tuning=tables.tuning(tuned(runs)),
        machines=run_tables.machines(runs),
        tables=tables,
        run_tables=run_tables,
        run_charts=run_charts,
        budget_titles=BUDGET_TITLES,
        colours=len(PALETTE),
        inline=_inline,
        printable=printable,
        json=functools.partial(json.dumps, indent=2, ensure_ascii=False),
        sort_key=_sort_key,
    )
    with atomic_write(path) as file:
        file.write(page)
    return Path(path)


def _sort_key(cell: Cell) -> str | None:
    """The number to sort a cell by, as JavaScript reads it; None without one."""
    return None if cell.value is None or math.isnan(cell.value) else repr(cell.value)


def _inline(chart: Chart) -> str:
    """The chart as an SVG element: ids and styles stay inside, colours are variables of the page."""
    drawn = picture(chart, "svg").decode()
    root = ElementTree.fromstring(drawn)
    used = set(re.findall(r"""(?:url\(|href=")#([^)"]+)""", drawn))
    for parent in list(root.iter()):
        parent[:] = [child for child in parent if child.tag not in _DROPPED]
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _tidy(element, used, f"{chart.name}-")
    content = "".join(ElementTree.tostring(child, encoding="unicode").strip() for child in root)
    label = escape(f"{chart.title}. {chart.description}")
    return (
        f'<svg class="chart" viewBox="{root.get("viewBox")}" role="img" aria-label="{label}">{content}</svg>'
    )


def _tidy(element: ElementTree.Element, used: set[str], prefix: str) -> None:
    attributes, element.attrib = dict(element.attrib), {}
    for key, value in attributes.items():
        if key == "id" and value in used:
            element.set("id", prefix + value)
        elif key == _HREF:
            element.set("href", f"#{prefix}{value.removeprefix('#')}")
        elif key == "clip-path":
            element.set(key, value.replace("url(#", f"url(#{prefix}"))
        elif key == "style":
            element.set(key, _style(value))
        elif key != "id":
            element.set(key, " ".join(_DECIMALS.sub(_rounded, value).split()))
    for text in ("text", "tail"):
        if not (getattr(element, text) or "").strip():
            setattr(element, text, None)


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _style(value: str) -> str:
    # The page's font; the one that matplotlib measured is among the widest.
    value = re.sub(r"font: ([^;']*?)'[^;]*", lambda m: f"font-size: {m[1].strip()}", value)
    value = re.sub(r"font-family: [^;]*;? ?", "", value)
    return re.sub(r"#[0-9a-f]{6}", lambda m: _NAMES.get(m[0], m[0]), value)
