"""The last section of a report: the run's figures in full precision, as one block of JSON.

The records of epochs, and of evaluations within epochs, are complete: comparisons and validation curves need
them. Logged steps are left out: a thousand of them are 500 kB, too much for a document that people read; a
curve of the training loss has a point per epoch then. NaN and the infinities are strings, as in run folders.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby, zip_longest
from typing import Any

from arsbench.errors import shown
from arsbench.report.content import Report
from arsbench.report.reader import Reader
from arsbench.runs import checks
from arsbench.runs.json_files import decode, encode

# The lines of the Performance Summary.
BEST = "- **Best Validation Metrics**: "
FINAL = "- **Final Validation Metrics**: "

_FORMAT = 1
_CHECKS = {
    "state": checks.one_of([state for state in checks.STATES if state != "imported"]),
    "step": checks.WHOLE,
    "message": checks.TEXT,
    "diverged_at": checks.optional(checks.WHOLE),
    "effective": checks.TABLES,
    "environment": checks.ENVIRONMENT,
    "groups": checks.GROUPS,
    "evaluations": checks.lines(checks.EVALUATIONS),
    "epochs": checks.lines(checks.EPOCHS),
}
_CHECK_OF_FORMAT = checks.kind(
    f"{_FORMAT}, the format of this version of arsbench",
    lambda value: type(value) is int and value == _FORMAT,
)


def data_block(report: Report) -> str:
    """The JSON of the block: a line for each field, and for each entry of a list."""
    fields = {"format": _FORMAT} | {name: getattr(report, name) for name in _CHECKS}
    return "{\n" + ",\n".join(f'"{name}": {_json(value)}' for name, value in encode(fields).items()) + "\n}"


def read_data(reader: Reader, config: dict[str, Any]) -> Report:
    """Read the section, whose heading has been read; `config` is the report's configuration as written.

    Raises:
        UserError: the section is damaged; the message names line and problem.
    """
    reader.next()  # the introduction
    content = decode(reader.json_object("the data block"))
    reader.require(checks.record({"format": _CHECK_OF_FORMAT, **_CHECKS}), content)
    return Report(config, **{name: content[name] for name in _CHECKS})


def require_agreement(reader: Reader, report: Report, expected: Reader) -> None:
    """Refuse a report whose text shows other figures than its data block, such as figures edited by hand.

    Tables are compared cell by cell, so that a formatter of Markdown may align them. Sentences and unfamiliar
    tables of the details are not compared: another version may have written them.

    Args:
        reader: a reader of the report.
        report: what its data block holds.
        expected: a reader of the report that this version writes of it.

    Raises:
        UserError: text and data block disagree; the message names line and figure.
    """
    tables = {tuple(rows[0][1]): rows for rows in _tables(expected)}
    for index, rows in enumerate(_tables(reader)):
        other = tables.get(tuple(rows[0][1]), rows if index else [])
        for (number, cells), (_, figures) in zip_longest(rows, other, fillvalue=(rows[-1][0], [])):
            for cell, figure in zip_longest(cells, figures, fillvalue=""):
                if cell != figure:
                    reader.fail(f"{shown(cell)} is {shown(figure)} in the data block", number)
    for start in (BEST, FINAL):
        text = expected.lines[expected.numbers_of(start)[0] - 1]
        for number in reader.numbers_of(start):
            if reader.lines[number - 1] != text:
                reader.fail(f"the data block gives {shown(text.removeprefix(start))} here", number)
    for number in reader.numbers_of("### Effective Configuration"):
        reader.number = number
        reader.next()  # the introduction
        effective = reader.json_object("the effective configuration")
        if json.dumps(effective) != json.dumps(report.effective):
            reader.fail("the effective configuration is not that of the data block", number)


def _tables(reader: Reader) -> Iterator[list[tuple[int, list[str]]]]:
    """The tables of a report without their rules: rows of cells, each with the number of its line."""
    numbered = enumerate(reader.lines, start=1)
    for is_table, group in groupby(numbered, key=lambda entry: entry[1].startswith("|")):
        if is_table:
            rows = []
            for number, _ in group:
                reader.number = number - 1
                rows.append((number, reader.cells()))
            yield rows[:1] + rows[2:]


def _json(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in value) + "\n]"
    return json.dumps(value, allow_nan=False)
