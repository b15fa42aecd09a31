"""Whether the text of a report agrees with its data block, so that no figure edited by hand is ignored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby, zip_longest

from arsbench.errors import shown
from arsbench.report.content import Report
from arsbench.report.details import EFFECTIVE
from arsbench.report.markdown import BEST, FINAL, report_lines
from arsbench.report.reader import Reader

# A table's rows, headers first, each with the number of its line.
_Rows = list[tuple[int, list[str]]]


def require_agreement(reader: Reader, report: Report) -> None:
    """Refuse a report whose text shows other figures than its data block.

    Tables are compared cell by cell, so that a formatter of Markdown may align them. Sentences and unfamiliar
    tables of the details are not compared: another version may have written them.

    Args:
        reader: a reader of the report.
        report: what its data block holds.

    Raises:
        UserError: text and data block disagree; the message names line and figure.
    """
    expected = Reader("\n".join(report_lines(report)), "")
    tables = {tuple(rows[0][1]): rows for rows in _tables(expected)}
    for index, rows in enumerate(_tables(reader)):
        headers = rows[0][1]
        other = tables.get(tuple(headers), [] if index == 0 else rows)
        for (number, cells), (_, figures) in zip_longest(rows, other, fillvalue=(rows[-1][0], [])):
            for cell, figure in zip_longest(cells, figures, fillvalue=""):
                if cell != figure:
                    reader.fail(f"{shown(cell)} is {shown(figure)} in the data block", number)
    for start in (BEST, FINAL):
        (number,), (line,) = reader.numbers_of(start), expected.numbers_of(start)
        text = expected.lines[line - 1]
        if reader.lines[number - 1] != text:
            reader.fail(f"the data block gives {shown(text.removeprefix(start))} here", number)
    for number in reader.numbers_of(EFFECTIVE):
        reader.number = number
        reader.next()  # the introduction
        effective = reader.json_object("the effective configuration")
        if json.dumps(effective) != json.dumps(report.effective):
            reader.fail("the effective configuration is not that of the data block", number)


def _tables(reader: Reader) -> Iterator[_Rows]:
    """The tables of a report without their rules."""
    numbered = enumerate(reader.lines, start=1)
    for is_table, group in groupby(numbered, key=lambda entry: entry[1].startswith("|")):
        if is_table:
            rows = []
            for number, _ in group:
                reader.number = number - 1
                rows.append((number, reader.cells()))
            yield rows[:1] + rows[2:]
