"""A chart as data: `charts` draws it, `run_tables` lists its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

BUDGET_TITLES = {
    "steps": "optimizer steps",
    "passes": "forward-backward passes",
    "seconds": "seconds of training",
}


@dataclass(frozen=True)
class Series:
    """A contender's values: means over its runs, and their range.

    Attributes:
        label: its name in the legend.
        place: the contender's number, which decides its colour and stroke in every chart.
        x: of the points, one in a bar chart; `mean`, `low` and `high` are as long.
        second: whether it is the second of a contender's two series in this chart.
    """

    label: str
    place: int
    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    second: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: unique on a page; the name of its files.
        description: in sentences: what it shows and how to read it.
        form: "curves", "positions" (few points over categories), "bars", or "shares" (the steps of a
            performance profile).
        log: whether values are on a logarithmic scale.
        top: the highest value that is drawn, None for all.
        ticks: names of x values, where they are not just numbers.
    """

    name: str
    title: str
    description: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    form: str = "curves"
    log: bool = False
    top: float | None = None
    ticks: dict[float, str] = field(default_factory=dict)

    @property
    def has_ranges(self) -> bool:
        """Whether any series has a range around its means."""
        return any(series.low != series.high for series in self.series)


def thinned(count: int, most: int) -> Sequence[int]:
    """At most `most` evenly spaced of `count` indices, the first and the last among them."""
    if count <= most:
        return range(count)
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
