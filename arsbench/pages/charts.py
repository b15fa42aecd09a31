"""Charts drawn by matplotlib, as files and for a page."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arsbench.analysis import Run
from arsbench.analysis.contenders import distinct
from arsbench.files import atomic_write
from arsbench.pages.chart_data import BUDGET_TITLES, Chart, Series
from arsbench.pages.run_charts import charts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Any two differ by ΔE > 30 for every kind of colour vision, and all have contrast > 3 to the paper. From the
# ninth contender on they repeat with other strokes. page.css has the same, and others for dark mode.
PALETTE = ("#1a39f9", "#bd8805", "#17413a", "#e63ea2", "#799a62", "#ac67ef", "#613c00", "#1f003b")
INK, GRID, PAPER = "#24292e", "#d6dae0", "#fefefe"

_STROKES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (1.2, 1.2)),
    (0, (8, 2)),
    (0, (3, 1.2)),
    (0, (6, 1.2, 1.2, 1.2, 1.2, 1.2)),
)
_MARKERS = "osD^vPX<>*p"

# In pixels of a page; a phone shows charts at three quarters of that, where text is still legible.
_WIDTH, _HEIGHT, _LEGEND_ROW, _LETTERS = 440, 290, 19, 13
_INCH = 72
_SETTINGS: dict[Any, Any] = {
    "font.size": _LETTERS,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
    "text.parse_math": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.spines.right": False,
    "axes.spines.top": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    "grid.color": GRID,
    "legend.fontsize": _LETTERS,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "legend.columnspacing": 1.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "arsbench",
    "path.simplify": True,
}


@dataclass(frozen=True)
class Plot:
    """A chart in files.

    Attributes:
        path: of the SVG; the PNG lies beside it.
        description: in sentences, for readers who do not see it.
    """

    title: str
    path: Path
    description: str


def write_plots(runs: Sequence[Run], directory: Path) -> list[Plot]:
    """Draw every chart that these runs, of one task, have data for (see `write_charts`)."""
    return write_charts(charts(distinct(runs)), directory)


def write_charts(drawn: Iterable[Chart], directory: Path) -> list[Plot]:
    """Draw charts, each as SVG and as PNG.

    `directory` is created if missing; files of the same names are replaced.

    Raises:
        UserError: the directory cannot be written to.
    """
    plots = []
    for chart in drawn:
        path = Path(directory) / f"{chart.name}.svg"
        for form in ("svg", "png"):
            with atomic_write(path.with_suffix(f".{form}"), "wb") as file:
                file.write(picture(chart, form))
        plots.append(Plot(chart.title, path, chart.description))
    return plots


def picture(chart: Chart, form: str) -> bytes:
    """The chart as a file of the format `form` ("svg" or "png"); the same chart gives the same bytes."""
    import matplotlib

    target = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    with matplotlib.rc_context(_SETTINGS):
        draw(chart).savefig(target, format=form, dpi=_INCH if form == "svg" else 3 * _INCH, metadata=metadata)
    return target.getvalue()


def draw(chart: Chart) -> Figure:
    """The chart as a figure of matplotlib."""
    from matplotlib.figure import Figure

    bars, count = chart.form == "bars", len(chart.series)
    columns = _legend_columns(chart) if count > 1 and not bars else 0
    rows = math.ceil(count / columns) if columns else 0
    height = 60 + 34 * count if bars else _HEIGHT + _LEGEND_ROW * rows
    figure = Figure(figsize=(_WIDTH / _INCH, height / _INCH), layout="constrained", facecolor=PAPER)
    axes = figure.subplots()
    # Above the axis, the title of its values is horizontal and has room.
    axes.set_title(chart.y_title, loc="left", fontsize=_LETTERS)
    if bars:
        _draw_bars(axes, chart)
    else:
        _draw_lines(axes, chart)
    if columns:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure


def _draw_lines(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator

    axes.grid(True, linewidth=0.8)
    for number, series in enumerate(chart.series):
        _draw_series(axes, chart, series, number)
    axes.set_xlabel(chart.x_title)
    if chart.form == "shares":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter("{x:g}×")
        axes.xaxis.set_minor_formatter("")
        axes.margins(x=0)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter("{x:.0%}")
        return
    if chart.ticks:
        axes.set_xticks(list(chart.ticks), list(chart.ticks.values()))
    else:
        whole = chart.x_title != BUDGET_TITLES["seconds"]
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=whole, steps=[1, 2, 2.5, 5, 10]))
        axes.xaxis.set_major_formatter("{x:,.10g}")
    if chart.form == "positions":
        axes.axhline(0, color=INK, linewidth=0.8)
    if chart.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter("{x:,.6g}")
        if chart.top is not None:
            lowest = min(v for series in chart.series for v in series.low if math.isfinite(v))
            axes.set_ylim(lowest - 0.05 * (chart.top - lowest), chart.top)
    if chart.form == "curves":
        axes.set_xlim(left=0)


def _draw_series(axes: Axes, chart: Chart, series: Series, number: int) -> None:
    colour, points = PALETTE[series.place % len(PALETTE)], len(series.x)
    gap = max(points // 5, 1)
    style = {
        "color": colour,
        "linestyle": _STROKES[series.place % len(_STROKES)],
        "linewidth": 1.8,
        "marker": _MARKERS[series.place % len(_MARKERS)],
        "markersize": 5,
        # Markers are staggered, or those of equal curves would hide each other.
        "markevery": 1 if points <= 12 else (number * gap // max(len(chart.series), 1), gap),
        "label": _shortened(series.label),
    }
    if chart.form == "positions":
        style["linestyle"] = (0, (2, 1.5)) if series.second else "-"
        style["markerfacecolor"] = PAPER if series.second else colour
        # Contenders stand side by side, the two series of a contender at the same x.
        places = sorted({other.place for other in chart.series})
        shift = 0.1 * (places.index(series.place) - (len(places) - 1) / 2)
        x = [value + shift for value in series.x]
        axes.plot(x, series.mean, **style)
        axes.vlines(x, series.low, series.high, color=colour, linewidth=1.2)
    elif chart.form == "shares":
        # Equal shares would hide each other: contenders are shifted by at most 1.5 %.
        shift = 0.03 * (0.5 - (number + 0.5) / len(chart.series))
        shares = [share + shift for share in series.mean]
        axes.plot(series.x, shares, drawstyle="steps-post", clip_on=False, **style)
    else:
        axes.plot(series.x, series.mean, **style)
    if chart.form == "curves" and series.low != series.high:
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.16, linewidth=0)


def _draw_bars(axes: Axes, chart: Chart) -> None:
    for place, series in enumerate(chart.series):
        (mean,), (low,), (high,) = series.mean, series.low, series.high
        axes.barh(place, mean, height=0.62, color=PALETTE[series.place % len(PALETTE)])
        if high - low > 0.02 * high:
            axes.plot([low, high], [place, place], color=PAPER, linewidth=4.5, solid_capstyle="butt")
            axes.plot([low, high], [place, place], color=INK, linewidth=1.8, solid_capstyle="butt")
        axes.annotate(
            f"{mean:,.4g}" if mean < 1000 else f"{mean:,.0f}",
            (max(high, mean), place),
            xytext=(5, 0),
            textcoords="offset points",
            verticalalignment="center",
        )
    axes.set_yticks(range(len(chart.series)), [_shortened(s.label, 22) for s in chart.series])
    axes.invert_yaxis()
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[["bottom"]].set_visible(False)
    axes.set_xlim(0, 1.2 * max(max(s.high[0], s.mean[0]) for s in chart.series) or 1)


def _legend_columns(chart: Chart) -> int:
    """As many columns as the widest label allows."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties("DejaVu Sans")
    labels = [_shortened(series.label) for series in chart.series]
    widest = max(TextPath((0, 0), label, size=_LETTERS, prop=font).get_extents().x1 for label in labels)
    # Beside the label: the line, and the space between lines, labels and columns.
    return max(1, min(len(labels), int(_WIDTH / (widest + (3.2 + 0.8 + 1.2) * _LETTERS))))


def _shortened(label: str, length: int = 46) -> str:
    return label if len(label) <= length else f"{label[: length - 12]}…{label[-11:]}"
