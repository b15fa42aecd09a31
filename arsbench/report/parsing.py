"""Reading a report of the seed report's form back into a run folder."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from arsbench.errors import UserError
from arsbench.records import RunFolder
from arsbench.report.columns import (
    BEFORE_DIAGNOSTICS,
    DIAGNOSTIC_PREFIX,
    METRICS,
    NOT_AVAILABLE,
    Column,
    Metrics,
    Record,
    diagnostic_column,
    metrics_of,
    row_cells,
)
from arsbench.report.markdown import (
    BEST,
    CONFIGURATION,
    FENCE,
    FINAL,
    JSON_FENCE,
    PERFORMANCE,
    RESULTS,
    TITLE,
    last_evaluated,
    write,
)


@dataclass(frozen=True)
class ParsedReport:
    """What a report tells: the configuration as given, and the records of its epochs."""

    config: dict[str, Any]
    epochs: list[Record]


def import_markdown(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> RunFolder:
    """Read the report at `path` into a new run folder at `out`, with a `summary.md` of its own.

    Whatever follows the Performance Summary, such as the details of a run of ours, is not read.

    Raises:
        UserError: `path` cannot be read, is no such report (the message names line and problem), or `out` is
            occupied. In each case nothing is written.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UserError(f"cannot read the report {path}: {problem}; give a report in Markdown") from error
    report = parse(text, str(path))
    run = RunFolder.create(out, config=report.config, effective={}, environment={}, groups=[])
    run.set_status("imported", 0)
    for record in report.epochs:
        run.append_epoch(record)
    write(run)
    return run


def parse(text: str, source: str) -> ParsedReport:
    """Parse a report.

    Args:
        text: the report.
        source: its name, for messages.

    Raises:
        UserError: it is not of the form; the message names line and problem.
    """
    lines = _Lines(text, source)
    lines.expect(TITLE)
    lines.expect(CONFIGURATION)
    config = _configuration(lines)
    lines.expect(RESULTS)
    epochs = _results(lines)
    lines.expect(PERFORMANCE)
    if not lines.next().startswith(BEST):
        lines.fail(f"{BEST.strip()!r} should stand here")
    _restore_precision(lines, epochs)
    if not lines.at_end() and not lines.next().startswith("#"):
        lines.fail("nothing but another section may follow the Performance Summary")
    return ParsedReport(config, epochs)


class _Lines:
    """The lines of a report, read one by one; blank ones are skipped between sections."""

    def __init__(self, text: str, source: str) -> None:
        self._lines = [line.rstrip() for line in text.split("\n")]
        self._source = source
        self.number = 0  # of the line read last, from 1

    def fail(self, problem: str, number: int | None = None) -> NoReturn:
        raise UserError(
            f"{self._source}, line {number or self.number}: {problem}; "
            f"give an ARS-Bench Experiment Report as it was written"
        )

    def at_end(self) -> bool:
        return not any(self._lines[self.number :])

    def next(self) -> str:
        """The next line that is not blank."""
        while (line := self.next_raw()) == "":
            pass
        return line

    def next_raw(self) -> str:
        """The next line, blank or not."""
        self.number += 1
        if self.number > len(self._lines):
            self.fail("the report ends too early")
        return self._lines[self.number - 1]

    def next_is_row(self) -> bool:
        return self.number < len(self._lines) and self._lines[self.number].startswith("|")

    def expect(self, text: str) -> None:
        if self.next() != text:
            self.fail(f"{text!r} should stand here")


def _configuration(lines: _Lines) -> dict[str, Any]:
    lines.expect(JSON_FENCE)
    first = lines.number + 1
    block = []
    while (line := lines.next_raw()) != FENCE:
        block.append(line)
    try:
        config = json.loads("\n".join(block))
    except json.JSONDecodeError as error:
        lines.fail(f"the configuration is not JSON ({error.msg})", first + error.lineno - 1)
    if not isinstance(config, dict):
        lines.fail("the configuration is not a JSON object", first)
    return config


def _results(lines: _Lines) -> list[Record]:
    columns, metrics = _columns(lines, _cells(lines, lines.next()))
    rule = _cells(lines, lines.next())
    if len(rule) != len(columns) or any(set(cell) != {"-"} for cell in rule):
        lines.fail("the rule under the table's headers, of as many cells, should stand here")
    records = []
    while lines.next_is_row():
        cells = _cells(lines, lines.next())
        if len(cells) != len(columns):
            lines.fail(f"the row has {len(cells)} cells and the table {len(columns)} columns")
        record: Record = {}
        for column, cell in zip(columns, cells, strict=True):
            try:
                column.read(cell, record)
            except ValueError:
                lines.fail(f"{cell!r} in column {column.header!r} is neither a number nor {NOT_AVAILABLE}")
        if record["epoch"] is None or not record["task"]:
            lines.fail("a row needs an epoch and a task")
        if metrics_of(record["task"]) is not metrics:
            lines.fail(f"the last columns are not those of the task {record['task']!r}")
        record.setdefault("diagnostics", {})
        records.append(record)
    return records


def _columns(lines: _Lines, headers: list[str]) -> tuple[list[Column], Metrics]:
    """The columns that a table's headers name, and the metrics that are the last of them.

    They are the form's, with any diagnostics between the two parts.
    """
    diagnostics = [h for h in headers if h.startswith(DIAGNOSTIC_PREFIX)]
    by_headers = {tuple(c.header for c in metrics.columns.values()): metrics for metrics in METRICS.values()}
    fitting = (metrics for last, metrics in by_headers.items() if tuple(headers[-len(last) :]) == last)
    metrics = next(fitting, METRICS["wikitext2_line"])
    columns = [
        *BEFORE_DIAGNOSTICS,
        *(diagnostic_column(header.removeprefix(DIAGNOSTIC_PREFIX)) for header in diagnostics),
        *metrics.columns.values(),
    ]
    for position, column in enumerate(columns):
        found = headers[position] if position < len(headers) else None
        if found != column.header:
            lines.fail(f"column {position + 1} should be {column.header!r}, not {found!r}")
    if len(headers) > len(columns):
        lines.fail(f"column {headers[len(columns)]!r} is one too many")
    if len(set(headers)) < len(headers):
        lines.fail("two columns have the same header")
    return columns, metrics


def _cells(lines: _Lines, line: str) -> list[str]:
    try:
        return row_cells(line)
    except ValueError as error:
        lines.fail(str(error))


def _restore_precision(lines: _Lines, records: list[Record]) -> None:
    """Put the full-precision numbers of the Final line into the records that they belong to."""
    line = lines.next()
    if not line.startswith(FINAL):
        lines.fail(f"{FINAL.strip()!r} should stand here")
    rest = line.removeprefix(FINAL)
    tasks = dict.fromkeys(record["task"] for record in records)
    last = {task: last_evaluated([r for r in records if r["task"] == task]) for task in tasks}
    expected = {task: record for task, record in last.items() if record is not None}
    if not expected:
        if rest != NOT_AVAILABLE:
            lines.fail(f"no row has an evaluation, so {NOT_AVAILABLE} should stand here")
        return
    while rest:
        # A name may begin with another's: the longest that fits is meant.
        named = [task for task in expected if rest.startswith(f"{task}: {{")]
        if not named:
            lines.fail(f"{rest[:40]!r} is not an evaluated task's name and its metrics")
        task = max(named, key=len)
        rest = rest.removeprefix(f"{task}: ")
        try:
            metrics, end = json.JSONDecoder().raw_decode(rest)
        except json.JSONDecodeError as error:
            lines.fail(f"the metrics of {task!r} are not JSON ({error.msg})")
        _set_metrics(lines, expected.pop(task), metrics)
        rest = rest[end:].removeprefix(", ")
    if expected:
        lines.fail(f"the metrics of {', '.join(map(repr, expected))} are missing")


def _set_metrics(lines: _Lines, record: Record, metrics: dict[str, Any]) -> None:
    columns = metrics_of(record["task"]).columns
    cells = {name: column.format(column.value(record)) for name, column in columns.items()}
    if metrics.keys() != {name for name, cell in cells.items() if cell != NOT_AVAILABLE}:
        lines.fail(f"the metrics of {record['task']!r} are not those of its row of epoch {record['epoch']}")
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            lines.fail(f"the {name} of {record['task']!r} is not a number")
        if columns[name].format(value) != cells[name]:
            lines.fail(f"the {name} of {record['task']!r} is {value}, but {cells[name]} in its row")
        columns[name].put(value, record)
