"""Reading back what a report of ours tells beyond the seed report's form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from arsbench.documents import parse_json
from arsbench.report import details
from arsbench.report.columns import MILESTONES, NOT_AVAILABLE, STRICT, Column, Record, cost_column
from arsbench.report.lines import Lines
from arsbench.report.markup import unescape
from arsbench.runs import checks

# The facts of the environment that are numbers; the others, versions and commits too, are texts.
_COUNTS = ("cores", "threads")


@dataclass(frozen=True)
class Details:
    """What a run folder holds, but for steps, evaluations within epochs, and weights."""

    state: str
    step: int
    message: str
    diverged_at: int | None
    effective: dict[str, Any]
    environment: dict[str, Any]
    groups: list[dict[str, Any]]


def parse_details(lines: Lines, records: Sequence[Record]) -> Details:
    """Read the details, whose title has been read.

    Args:
        lines: what follows the title.
        records: of the epochs. Strict figures, steps, passes and whatever else the details tell of an epoch
            are put into its record.

    Raises:
        UserError: the details are not of the form; the message names line and problem.
    """
    state, step, message = _status(lines)
    diverged_at, heading = None, lines.next()
    if match := _matched(details.DIVERGED, heading):
        diverged_at, heading = _integer(match[1]), lines.next()
    while heading.startswith("- "):  # how to read a report
        heading = lines.next()
    if heading == details.OF_MILESTONES:
        lines.next()  # what they are; the epochs' figures say the same
        for _ in _texts(lines, [column.header for column in MILESTONES]):
            pass
    elif heading == details.OF_STRICT_PROTOCOL:
        _strict_protocol(lines, records)
    else:
        lines.fail(f"{details.OF_STRICT_PROTOCOL!r} or {details.OF_MILESTONES!r} should stand here")
    lines.expect(details.OF_COST)
    _cost(lines, records)
    lines.expect(details.OF_GROUPS)
    groups = [_group(lines, cells) for cells in _texts(lines, details.GROUPS)]
    lines.require(checks.GROUPS, groups)
    lines.expect(details.OF_BACKENDS)
    backends = {op: _fact(op, cell) for op, cell in _texts(lines, details.BACKENDS)}
    lines.expect(details.OF_ENVIRONMENT)
    facts = {name: _fact(name, cell) for name, cell in _texts(lines, details.ENVIRONMENT)}
    lines.expect(details.OF_EFFECTIVE)
    lines.next()  # what it is
    effective, environment = lines.json_object(), facts | {"backends": backends}
    lines.require(checks.TABLES, effective)
    lines.require(checks.ENVIRONMENT, environment)
    return Details(state, step, message, diverged_at, effective, environment, groups)


def _status(lines: Lines) -> tuple[str, int, str]:
    line = lines.next()
    for state, sentence in details.STATUS.items():
        if match := _matched(sentence, line, r"(?: (.+)\.)?"):
            return state, _integer(match[1]), unescape(match[2] or "")
    lines.fail("how the run ended should stand here")


def _matched(sentence: str, line: str, rest: str = "") -> re.Match[str] | None:
    """A line as `sentence` with a number for its step, then `rest`, a pattern."""
    before, after = map(re.escape, sentence.split("{step}"))
    return re.fullmatch(rf"{before}([0-9][0-9,]{{0,20}}){after}{rest}", line)


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def _strict_protocol(lines: Lines, records: Sequence[Record]) -> None:
    if not _is_table(lines):
        return
    _expect_headers(lines, [column.header for column in STRICT])
    for row in _body(lines, STRICT):
        metrics = {name: value for name, value in row["metrics"].items() if value is not None}
        if not row["split"]:
            lines.fail("a row needs a split")
        record = _record_of(lines, row, records)
        evaluation = record.setdefault("evaluation", {})
        evaluation.setdefault(row["split"], {})["strict"] = metrics
        lines.require(checks.EPOCH, record)


def _cost(lines: Lines, records: Sequence[Record]) -> None:
    if not _is_table(lines):
        return
    headers = lines.cells()
    columns = [column for header in headers if (column := cost_column(header)) is not None]
    if len(columns) < len(headers) or [column.path for column in columns[:2]] != [("epoch",), ("task",)]:
        lines.fail(f"{' | '.join(headers)!r} are not the headers of {details.OF_COST!r}")
    for row in _body(lines, columns):
        record = _record_of(lines, row, records)
        for column in columns:
            value = column.value(row)
            if value is not None:
                column.put(value, record)
        lines.require(checks.EPOCH, record)


def _record_of(lines: Lines, row: Record, records: Sequence[Record]) -> Record:
    """The record of a row's epoch and task."""
    for record in records:
        if (record["epoch"], record["task"]) == (row["epoch"], row["task"]):
            return record
    lines.fail(f"there is no epoch {row['epoch']} of {row['task']!r} in the Training Results")


def _group(lines: Lines, cells: list[str]) -> dict[str, Any]:
    name, *counts, hyperparameters = cells
    try:
        tensors, parameters = (int(count.replace(",", "")) for count in counts)
    except ValueError:
        lines.fail(f"{' | '.join(counts)!r} are not the numbers of tensors and parameters")
    # "lr 0.001, betas [0.9, 0.95]": a name begins each pair, and no list of numbers has one. A text that
    # looks like something else comes back as that; nothing compares these.
    before, *pairs = re.split(r"(?:^|, )([A-Za-z_]\w*)(?: |$)", hyperparameters)
    if before:
        lines.fail(f"{before!r} has no name of a hyperparameter before it")
    values = {name: _value(text) for name, text in zip(pairs[::2], pairs[1::2], strict=True)}
    return {"name": name, "tensors": tensors, "parameters": parameters, "hyperparameters": values}


def _fact(name: str, cell: str) -> Any:
    """What `columns.text_of` wrote; of a text that looks like a number only the name says what it is."""
    is_json = name in _COUNTS or cell.startswith(("{", "[")) or cell == NOT_AVAILABLE
    return _value(cell) if is_json else cell


def _value(text: str) -> Any:
    if text == NOT_AVAILABLE:
        return None
    try:
        return parse_json(text)
    except ValueError:
        return text


def _texts(lines: Lines, headers: Sequence[str]) -> Iterator[list[str]]:
    """The rows of a table of these headers."""
    if _is_table(lines):
        _expect_headers(lines, headers)
        lines.expect_rule(len(headers))
        while lines.next_is_row():
            yield lines.row(len(headers))


def _expect_headers(lines: Lines, headers: Sequence[str]) -> None:
    if lines.cells() != list(headers):
        lines.fail(f"{' | '.join(headers)!r} should be the headers here")


def _body(lines: Lines, columns: Sequence[Column]) -> Iterator[Record]:
    lines.expect_rule(len(columns))
    while lines.next_is_row():
        yield lines.record(columns)


def _is_table(lines: Lines) -> bool:
    """Whether a section has one, or else the words in its place, which are read."""
    if lines.next_is_row():
        return True
    lines.expect(details.NOTHING)
    return False
