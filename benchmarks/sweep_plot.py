"""The sweep as small multiples: each op's time over a size, its memory below, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from arsbench.files import atomic_write
from benchmarks.harness import Row

COLUMNS = 4
# A logarithmic axis shows smaller values, which are noise, at this one.
SMALLEST_MB = 0.1
# Field of `Row`, line style, colour, label in the legend.
TIMES = (
    ("seconds", "o-", "#0b5fa5", "arsbench"),
    ("peer_seconds", "s-", "#d1601e", "plain PyTorch"),
    ("floor_seconds", "--", "#555555", "floor"),
)
MEMORIES = (
    ("peak_rss_mb", "o-", "#0b5fa5", "arsbench"),
    ("peer_peak_rss_mb", "s-", "#d1601e", "plain PyTorch"),
)


@dataclass(frozen=True)
class Panel:
    """One sweep: an op, the size that varies, its values and a row for each."""

    op: str
    axis: str
    values: Sequence[int]
    rows: Sequence[Row]


def plot(path: Path, panels: Sequence[Panel], title: str) -> None:
    """Draw the panels in `COLUMNS` columns into `path`; its suffix names the format."""
    bands = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(4.2 * COLUMNS, 6.4 * bands))
    axes = figure.subplots(2 * bands, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_visible(False)
    for index, panel in enumerate(panels):
        band, column = divmod(index, COLUMNS)
        time, memory = axes[2 * band][column], axes[2 * band + 1][column]
        time.set_title(f"{panel.op}, {panel.axis}", fontsize=11)
        draw(time, panel, TIMES, "seconds")
        draw(memory, panel, MEMORIES, "memory, MB", SMALLEST_MB)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.suptitle(title, fontsize=13)
    figure.legend(handles, labels, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 0.965), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.94))
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), dpi=100)


def draw(
    axis: Axes, panel: Panel, series: Sequence[tuple[str, ...]], label: str, smallest: float = 0.0
) -> None:
    """Draw fields of the rows over the panel's values; values below `smallest` are drawn at `smallest`."""
    axis.set_visible(True)
    axis.set_xscale("log")
    axis.set_yscale("log")
    for field, line, color, name in series:
        figures = [max(getattr(row, field), smallest) for row in panel.rows]
        axis.plot(panel.values, figures, line, color=color, label=name)
    low, high = axis.get_ylim()
    axis.set_ylim(low / 2, high * 2)  # room for labelled ticks where the values hardly differ
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticks(panel.values, [f"{value:,}" for value in panel.values], fontsize=9)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(axis="y", labelsize=9)
    axis.set_xlabel(panel.axis, fontsize=10)
    axis.set_ylabel(label, fontsize=10)
    axis.grid(alpha=0.3)
