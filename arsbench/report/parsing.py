"""Reading a report: the sections of the reference format, and the data block of a run of ARS-Bench."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from arsbench.documents import parse_json
from arsbench.files import read_text
from arsbench.metrics import ABOVE_LIMIT, TASK_METRICS, TaskMetrics, perplexity
from arsbench.report.columns import (
    DIAGNOSTIC_PREFIX,
    NOT_AVAILABLE,
    Column,
    metric_columns,
    seed_columns,
    task_metrics,
)
from arsbench.report.content import Record, Report
from arsbench.report.data_block import BEST, FINAL, read_data, require_agreement
from arsbench.report.markdown import last_evaluated, markdown_of, write
from arsbench.report.markup import unescape
from arsbench.report.reader import Reader
from arsbench.runs import checks
from arsbench.runs.folder import RunFolder
from arsbench.runs.paths import claimed_run

MAX_BYTES = 2**28  # a million epochs

_DETAILS = "## Details of This Run"
_DATA = "## Run Data"


def import_markdown(
    path: str | os.PathLike[str], out: str | os.PathLike[str], warn: Callable[[str], object] = warnings.warn
) -> RunFolder:
    """Read the report at `path` into a new run folder at `out`, with a `summary.md` of its own.

    The new report is the same as the old one, but for sections that are no part of it, such as plots. `warn`
    is called with a sentence where something of the report is skipped.

    Raises:
        UserError: `path` cannot be read, is no such report (the message names line and problem), or `out` is
            not empty. In each case nothing is written.
    """
    report = parse(read_report(path), str(path))
    if report.skipped:
        warn(report.skipped)
    with claimed_run(out):
        run = RunFolder.create(
            out,
            config=report.config,
            effective=report.effective,
            environment=report.environment,
            groups=report.groups,
        )
        for record in report.epochs:
            run.append_epoch(record)
        for record in report.evaluations:
            run.append_evaluation(record)
        run.set_status(
            report.state, report.step, report.message, diverged_at=report.diverged_at, from_report=True
        )
        write(run)
    return run


def read_report(path: str | os.PathLike[str]) -> str:
    """The text of the report at `path`.

    Raises:
        UserError: it cannot be read, or is not a UTF-8 text file.
    """
    return read_text(path, "report", "give a report in Markdown", limit=MAX_BYTES)


def parse(text: str, source: str) -> Report:
    """Parse the text of a report, which messages call `source`.

    Without a data block, the sections of the reference format are read.

    Raises:
        UserError: it is not a report, or its data block contradicts what stands above it; the message names
            line and problem.
    """
    reader = Reader(text, source)
    reader.expect("# ARS-Bench Experiment Report")
    reader.expect("## Configuration Summary")
    config = reader.json_object("the configuration")
    reader.expect("## Training Results")
    epochs = _results(reader)
    reader.expect("## Performance Summary")
    if not reader.next().startswith(BEST):
        reader.fail(f"a line that starts with {BEST.strip()!r} is missing here")
    _restore_precision(reader, epochs)
    report = Report(config, epochs)
    if reader.at_end():
        return report
    heading = reader.next()
    if not heading.startswith("#"):
        reader.fail("only another section may follow the Performance Summary")
    blocks = [number for number in reader.numbers_of(_DATA) if reader.lines[number - 1] == _DATA]
    if len(blocks) > 1:
        reader.fail(f"the section {_DATA!r} is there twice", blocks[1])
    if blocks:
        reader.number = blocks[0]
        report = read_data(reader, config)
        if not reader.at_end() and not reader.next().startswith("#"):
            reader.fail("only another section may follow the data block")
        require_agreement(reader, report, Reader(markdown_of(report), source))
        return report
    if heading != _DETAILS:
        return report
    skipped = (
        f"{source} was written by an older version: its Training Results and Performance Summary are read, "
        f"its details are skipped; to have them read too, rewrite it with `arsbench report RUN`"
    )
    return replace(report, skipped=skipped)


def _results(reader: Reader) -> list[Record]:
    columns, metrics = _columns(reader, reader.cells())
    reader.expect_rule(len(columns))
    records: list[Record] = []
    while reader.next_is_row():
        record = reader.record(columns)
        if record["epoch"] is None or not record["task"]:
            reader.fail("a row needs an epoch and a task")
        if any(r["epoch"] >= record["epoch"] for r in records if r["task"] == record["task"]):
            reader.fail(f"epoch {record['epoch']} of {record['task']!r} comes after a later one, or twice")
        if task_metrics(record["task"]) is not metrics:
            reader.fail(f"the last columns are not those of the task {record['task']!r}")
        record.setdefault("diagnostics", {})
        reader.require(checks.EPOCH, record)
        records.append(record)
    return records


def _columns(reader: Reader, headers: list[str]) -> tuple[list[Column], TaskMetrics]:
    """The columns with these headers, and the task's metrics, which are the last of them."""
    tasks = {metric_columns(metrics)[-1].header: task for task, metrics in TASK_METRICS.items()}
    task = tasks.get(headers[-1], "wikitext2_line")
    diagnostics = [h.removeprefix(DIAGNOSTIC_PREFIX) for h in headers if h.startswith(DIAGNOSTIC_PREFIX)]
    columns = seed_columns([{"diagnostics": diagnostics}], task, as_found=True)
    for header, column in zip_longest(headers, [column.header for column in columns]):
        if header != column:
            there = "the table ends" if header is None else f"the column {header!r} stands"
            reader.fail(f"{there} where the format has {'no column' if column is None else repr(column)}")
    return columns, TASK_METRICS[task]


def _restore_precision(reader: Reader, records: list[Record]) -> None:
    """Put the full-precision numbers of the line "Final Validation Metrics" into their records."""
    line = reader.next()
    if not line.startswith(FINAL):
        reader.fail(f"a line that starts with {FINAL.strip()!r} is missing here")
    rest = unescape(line.removeprefix(FINAL))
    expected = last_evaluated(records)
    if not expected:
        if rest == NOT_AVAILABLE:
            return
        reader.fail(f"no row has an evaluation, so the line must say {NOT_AVAILABLE}")
    while rest:
        # A name may begin with another name, so the longest one counts.
        task = max((t for t in expected if rest.startswith(f"{t}: {{")), key=len, default=None)
        if task is None:
            reader.fail(f"{rest[:40]!r} is not an evaluated task's name and its metrics")
        rest = rest.removeprefix(f"{task}: ")
        block = rest[: rest.find("}") + 1]  # one of numbers, which hold no brace
        try:
            metrics = parse_json(block)
        except ValueError as error:
            reader.fail(f"the metrics of {task!r} are not JSON ({error})")
        _set_metrics(reader, expected.pop(task), metrics)
        rest = rest.removeprefix(block).removeprefix(", ")
    if expected:
        reader.fail(f"the metrics of {', '.join(map(repr, expected))} are missing")


def _set_metrics(reader: Reader, record: Record, metrics: dict[str, Any]) -> None:
    """Put the numbers into the record, whose rounded ones they must agree with."""
    task, columns = record["task"], metric_columns(task_metrics(record["task"]))
    for column in columns:
        cell, value = column.format(column.value(record)), metrics.pop(column.name, None)
        if value == ABOVE_LIMIT and column.is_perplexity:
            loss = columns[0].value(record)
            value = math.inf if loss is None else perplexity(loss)
        if value is not None and checks.NUMBER(value, column.name):
            reader.fail(f"the {column.name} of {task!r} is not a number")
        if column.format(value) != cell:
            reader.fail(f"the {column.name} of {task!r} is {column.format(value)}, but {cell} in its row")
        column.put(value, record)
    if metrics:
        reader.fail(f"{task!r} has no metric {next(iter(metrics))!r}")
