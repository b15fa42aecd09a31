"""Reading a report back into a run folder: the seed report's form, and the details of a run of ours."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from arsbench.documents import parse_json_prefix
from arsbench.files import read_text
from arsbench.metrics import ABOVE_LIMIT, perplexity
from arsbench.report.columns import (
    BEFORE_DIAGNOSTICS,
    DIAGNOSTIC_PREFIX,
    METRICS,
    NOT_AVAILABLE,
    Column,
    Metrics,
    Perplexity,
    Record,
    diagnostic_column,
    metrics_of,
)
from arsbench.report.details import TITLE as TITLE_OF_DETAILS
from arsbench.report.details_parsing import Details, parse_details
from arsbench.report.lines import Lines
from arsbench.report.markdown import (
    BEST,
    CONFIGURATION,
    FINAL,
    PERFORMANCE,
    RESULTS,
    TITLE,
    last_evaluated,
    write,
)
from arsbench.report.markup import escape
from arsbench.runs import checks
from arsbench.runs.folder import RunFolder
from arsbench.runs.paths import claimed_run

MOST_BYTES = 2**28  # a million epochs


@dataclass(frozen=True)
class ParsedReport:
    """What a report tells.

    Attributes:
        config: as given.
        epochs: their records.
        details: what a report of ours tells besides, None in another of the seed's form.
    """

    config: dict[str, Any]
    epochs: list[Record]
    details: Details | None


def import_markdown(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> RunFolder:
    """Read the report at `path` into a new run folder at `out`, with a `summary.md` of its own.

    A report of ours makes a folder that tells what the report did, the run's state included, and whose report
    is the same again (but for a milestone that an accuracy of four digits reaches where the run's did not).
    What another section told, of plots for instance, is not kept.

    Raises:
        UserError: `path` cannot be read, is no such report (the message names line and problem), or `out` is
            occupied. In each case nothing is written.
    """
    report = parse(read_report(path), str(path))
    told = report.details or Details("imported", 0, "", None, effective={}, environment={}, groups=[])
    with claimed_run(out):
        run = RunFolder.create(
            out,
            config=report.config,
            effective=told.effective,
            environment=told.environment,
            groups=told.groups,
        )
        for record in report.epochs:
            run.append_epoch(record)
        run.set_status(told.state, told.step, told.message, diverged_at=told.diverged_at, from_report=True)
        write(run)
    return run


def read_report(path: str | os.PathLike[str]) -> str:
    """The text of the report at `path`.

    Raises:
        UserError: it cannot be read, or is no UTF-8 text file.
    """
    return read_text(path, "report", "give a report in Markdown", limit=MOST_BYTES)


def parse(text: str, source: str) -> ParsedReport:
    """Parse a report.

    Args:
        text: the report.
        source: its name, for messages.

    Raises:
        UserError: it is not of the form; the message names line and problem.
    """
    lines = Lines(text, source)
    lines.expect(TITLE)
    lines.expect(CONFIGURATION)
    config = lines.json_object()
    lines.expect(RESULTS)
    epochs = _results(lines)
    lines.expect(PERFORMANCE)
    if not lines.next().startswith(BEST):
        lines.fail(f"{BEST.strip()!r} should stand here")
    _restore_precision(lines, epochs)
    details = None
    if not lines.at_end():
        heading = lines.next()
        if heading == TITLE_OF_DETAILS:
            details = parse_details(lines, epochs)
        elif not heading.startswith("#"):
            lines.fail("nothing but another section may follow the Performance Summary")
    return ParsedReport(config, epochs, details)


def _results(lines: Lines) -> list[Record]:
    columns, metrics = _columns(lines, lines.cells())
    lines.expect_rule(len(columns))
    records: list[Record] = []
    while lines.next_is_row():
        record = lines.record(columns)
        if record["epoch"] is None or not record["task"]:
            lines.fail("a row needs an epoch and a task")
        if any(r["epoch"] >= record["epoch"] for r in records if r["task"] == record["task"]):
            lines.fail(f"epoch {record['epoch']} of {record['task']!r} comes after a later one, or twice")
        if metrics_of(record["task"]) is not metrics:
            lines.fail(f"the last columns are not those of the task {record['task']!r}")
        record.setdefault("diagnostics", {})
        lines.require(checks.EPOCH, record)
        records.append(record)
    return records


def _columns(lines: Lines, headers: list[str]) -> tuple[list[Column], Metrics]:
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


def _restore_precision(lines: Lines, records: list[Record]) -> None:
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
        # A name may begin with another's: the longest that fits is meant. Other writers do not escape them.
        named = [
            (form, task)
            for task in expected
            for form in (escape(task), task)
            if rest.startswith(f"{form}: {{")
        ]
        if not named:
            lines.fail(f"{rest[:40]!r} is not an evaluated task's name and its metrics")
        form, task = max(named, key=lambda pair: len(pair[0]))
        rest = rest.removeprefix(f"{form}: ")
        try:
            metrics, end = parse_json_prefix(rest)
        except ValueError as error:
            lines.fail(f"the metrics of {task!r} are not JSON ({error})")
        _set_metrics(lines, expected.pop(task), metrics)
        rest = rest[end:].removeprefix(", ")
    if expected:
        lines.fail(f"the metrics of {', '.join(map(repr, expected))} are missing")


def _set_metrics(lines: Lines, record: Record, metrics: dict[str, Any]) -> None:
    columns = metrics_of(record["task"]).columns
    cells = {name: column.format(column.value(record)) for name, column in columns.items()}
    if metrics.keys() != {name for name, cell in cells.items() if cell != NOT_AVAILABLE}:
        lines.fail(f"the metrics of {record['task']!r} are not those of its row of epoch {record['epoch']}")
    for name, value in metrics.items():
        if value == ABOVE_LIMIT and isinstance(columns[name], Perplexity):
            loss = metrics.get("loss")
            value = math.inf if checks.NUMBER(loss, "loss") else perplexity(loss)
        if checks.NUMBER(value, name):
            lines.fail(f"the {name} of {record['task']!r} is not a number")
        if columns[name].format(value) != cells[name]:
            lines.fail(f"the {name} of {record['task']!r} is {value}, but {cells[name]} in its row")
        columns[name].put(value, record)
