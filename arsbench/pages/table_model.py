"""A table as data, which `markdown` and `html` write."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arsbench.analysis import Run
from arsbench.analysis.checks import UNKNOWN
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.wording import in_digits
from arsbench.report.columns import NOT_AVAILABLE

NOT_REACHED, NOT_SET = "not reached", "—"
# What may stand in a column of numbers besides numbers.
_NO_NUMBER = ("", NOT_AVAILABLE, NOT_REACHED, NOT_SET, UNKNOWN)


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: as it is shown.
        value: the number to sort by, None where there is none.
        place: the contender's number in the charts, whose colour is shown.
    """

    text: str
    value: float | None = None
    place: int | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what the table shows.
        headers: of its columns; the first column names the row.
        rows: of as many cells as there are headers.
        note: how to read it.
    """

    caption: str
    headers: list[str]
    rows: list[list[Cell]]
    note: str = ""

    @property
    def numeric_columns(self) -> list[bool]:
        """Of each column, whether it holds numbers, apart from missing ones."""
        columns = ([row[i] for row in self.rows] for i in range(len(self.headers)))
        return [
            any(cell.value is not None for cell in cells)
            and all(cell.value is not None or cell.text in _NO_NUMBER for cell in cells)
            for cells in columns
        ]


def table(
    caption: str, columns: Mapping[str, Callable[[Any], Cell | str]], items: Iterable[Any], note: str = ""
) -> Table:
    """A table with a row for each item; columns after the first are left out where no item has a value.

    `columns` holds, by header, the function that makes an item's cell.
    """
    rows = [
        [cell if isinstance(cell := make(item), Cell) else Cell(cell) for make in columns.values()]
        for item in items
    ]
    kept = [i for i in range(len(columns)) if not i or any(row[i].text != NOT_AVAILABLE for row in rows)]
    headers = list(columns)
    return Table(caption, [headers[i] for i in kept], [[row[i] for i in kept] for row in rows], note)


def capital(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def number(value: float | None, form: str | Callable[[float], str] = ".4f") -> Cell:
    """A cell of a number that may be missing, in the format `form`, or as text by it; NaN has no sign."""
    if value is None:
        return Cell(NOT_AVAILABLE)
    text = in_digits(value, form) if isinstance(form, str) else form(value)
    return Cell("nan" if math.isnan(value) else text, value)


def cost_cell(value: float | None, spec: str) -> Cell:
    """A cell of what was spent to reach a target, which may not have been reached."""
    return Cell(NOT_REACHED, value) if value == math.inf else number(value, spec)


def contender_cells(runs: Sequence[Run], attribute: str = "contender") -> Callable[[Any], Cell]:
    """What makes the cell of an item's contender, with the contender's colour in the charts."""
    places = {contender: place for place, contender in enumerate(by_contender(runs))}
    return lambda item: Cell(name := getattr(item, attribute), place=places[name])
