"""Charts as SVG inside a page: ids and styles stay inside, colours are variables of the page."""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

from arsbench.pages.chart_data import Chart
from arsbench.pages.charts import GRID, INK, PALETTE, PAPER, picture

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


def inline(chart: Chart) -> str:
    """The chart as an SVG element of a page."""
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
