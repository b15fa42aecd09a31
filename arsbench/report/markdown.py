"""Writing a report in the reference report format, to the letter, with our own sections after it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from arsbench.metrics import ABOVE_LIMIT
from arsbench.report.columns import NOT_AVAILABLE, metric_columns, seed_columns, table, task_metrics
from arsbench.report.content import Record, Report
from arsbench.report.data_block import data_lines
from arsbench.report.details import details_lines
from arsbench.report.markup import escape, table_lines
from arsbench.report.reader import FENCE, JSON_FENCE
from arsbench.runs.folder import RunFolder

TITLE = "# ARS-Bench Experiment Report"
CONFIGURATION = "## Configuration Summary"
RESULTS = "## Training Results"
PERFORMANCE = "## Performance Summary"
BEST = "- **Best Validation Metrics**: "
FINAL = "- **Final Validation Metrics**: "


def write(run: RunFolder) -> Path:
    """Write the run's `summary.md` and return its path."""
    return run.write_summary(render(run))


def render(run: RunFolder) -> str:
    """The run's report as Markdown: the reference format, then, unless imported, its details and its data."""
    return "\n".join(report_lines(Report.of(run))) + "\n"


def report_lines(report: Report) -> list[str]:
    """A report as lines of Markdown."""
    lines = [
        TITLE,
        "",
        CONFIGURATION,
        JSON_FENCE,
        *json.dumps(report.config, indent=2).split("\n"),
        FENCE,
        "",
        RESULTS,
        *table_lines(_results(report)),
        "",
        PERFORMANCE,
        BEST + _best(report.epochs),
        FINAL + _final(report.epochs),
    ]
    if not report.imported:
        lines += ["", *details_lines(report), "", *data_lines(report)]
    return lines


def results_table(run: RunFolder) -> list[list[str]]:
    """The cells of the table "Training Results": the headers, then a row for each epoch and task."""
    return _results(Report.of(run))


def _results(report: Report) -> list[list[str]]:
    return table(seed_columns(report.epochs, report.task, as_found=report.imported), report.epochs)


def _best(records: Sequence[Record]) -> str:
    """The metrics of each task's best epoch: the first of the smallest loss or the highest accuracy."""
    parts = []
    for task in _tasks(records):
        metrics = task_metrics(task)
        decides = metrics.named(metrics.report_best)
        evaluated = [r for r in records if r["task"] == task and decides.value(r) is not None]
        numbers = [record for record in evaluated if not math.isnan(decides.value(record))]
        choose = max if decides.higher_is_better else min
        best = choose(numbers, key=decides.value, default={})
        for column in metric_columns(metrics):
            parts.append(f"{escape(task)} {column.name.capitalize()}: {column.format(column.value(best))}")
    return ", ".join(parts) or f"{NOT_AVAILABLE} (no epoch is complete)"


def _final(records: Sequence[Record]) -> str:
    """Each task's last evaluation in full precision; a perplexity above 1e6 is "> 1e6"."""
    parts = []
    for task, record in last_evaluated(records).items():
        values = {
            c.name: (c.value(record), c.format(c.value(record))) for c in metric_columns(task_metrics(task))
        }
        numbers = {
            name: ABOVE_LIMIT if cell == ABOVE_LIMIT else value
            for name, (value, cell) in values.items()
            if value is not None
        }
        parts.append(f"{escape(task)}: {json.dumps(numbers)}")
    return ", ".join(parts) or NOT_AVAILABLE


def last_evaluated(records: Sequence[Record]) -> dict[str, Record]:
    """Each task's last record with an evaluation, which the line "Final Validation Metrics" shows."""
    last = {}
    for record in records:
        columns = metric_columns(task_metrics(record["task"]))
        if any(column.value(record) is not None for column in columns):
            last[record["task"]] = record
    return {task: last[task] for task in _tasks(records) if task in last}


def _tasks(records: Sequence[Record]) -> list[str]:
    """The tasks in the order in which they first appear."""
    return list(dict.fromkeys(record["task"] for record in records))
