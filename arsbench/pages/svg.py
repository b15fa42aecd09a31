"""Pictures of matplotlib made fit for a page: no ids or styles that reach beyond them, colours by name."""

from __future__ import annotations

import re
from html import escape
from xml.etree import ElementTree

from arsbench.pages.chart_data import Chart
from arsbench.pages.charts import GRID, INK, PALETTE, PAPER, picture

_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_DROPPED = {f"{_SVG}metadata", f"{_SVG}style"}
# The page defines these names, for light and for dark.
_NAMES = {
    **{colour: f"var(--series-{number})" for number, colour in enumerate(PALETTE)},
    INK: "var(--ink)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
}


def inline(chart: Chart) -> str:
    """The chart as an element of a page."""
    root = ElementTree.fromstring(picture(chart, "svg"))
    used = {target for element in root.iter() for target in _targets(element)}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _DROPPED:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _tidy(element, used, f"{chart.name}-")
    content = "".join(ElementTree.tostring(child, encoding="unicode").strip() for child in root)
    label = escape(f"{chart.title}. {chart.description}")
    return (
        f'<svg class="chart" viewBox="{root.get("viewBox")}" role="img" aria-label="{label}">{content}</svg>'
    )


def _targets(element: ElementTree.Element) -> list[str]:
    """The ids that an element refers to."""
    values = " ".join(element.attrib.values())
    reference = element.get(_HREF, "").removeprefix("#")
    return [*re.findall(r"url\(#([^)]+)\)", values), *([reference] if reference else [])]


def _tidy(element: ElementTree.Element, used: set[str], prefix: str) -> None:
    name = element.attrib.pop("id", None)
    if name in used:
        element.set("id", prefix + name)
    reference = element.attrib.pop(_HREF, None)
    if reference:
        element.set("href", f"#{prefix}{reference.removeprefix('#')}")
    for key, value in list(element.attrib.items()):
        if key == "style":
            element.set(key, _style(value))
        elif key in ("d", "x", "y", "transform", "points", "width", "height"):
            element.set(
                key, re.sub(r"-?\d+\.\d+", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
            )
        elif key == "clip-path":
            element.set(key, value.replace("url(#", f"url(#{prefix}"))
    for text in ("text", "tail"):
        if not (getattr(element, text) or "").strip():
            setattr(element, text, None)
    if "d" in element.attrib:
        element.set("d", " ".join(element.attrib["d"].split()))


def _style(value: str) -> str:
    # The page's own letters; those that matplotlib measured are among the widest.
    value = re.sub(r"font: ([^;']*?)'[^;]*", lambda m: f"font-size: {m[1].strip()}", value)
    value = re.sub(r"font-family: [^;]*;? ?", "", value)
    return re.sub(r"#[0-9a-f]{6}", lambda m: _NAMES.get(m[0], m[0]), value)
