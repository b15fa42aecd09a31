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
    for task, history in _by_task(records).items():
        metrics = task_metrics(task)
        decides = metrics.named(metrics.report_best)
        numbers = [r for r in history if not math.isnan(_or_nan(decides.value(r)))]
        choose = max if decides.higher_is_better else min
        best = choose(numbers, key=decides.value, default={})
        for column in metric_columns(metrics):
            parts.append(f"{escape(task)} {column.name.capitalize()}: {column.format(column.value(best))}")
    return ", ".join(parts) or f"{NOT_AVAILABLE} (no epoch is complete)"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _final(records: Sequence[Record]) -> str:
    """Each task's last evaluation in full precision; a perplexity above 1e6 is "> 1e6"."""
    parts = []
    for task, history in _by_task(records).items():
        last = last_evaluated(history)
        if last is not None:
            cells = {c.name: (c.value(last), c) for c in metric_columns(task_metrics(task))}
            values = {
                name: ABOVE_LIMIT if column.format(value) == ABOVE_LIMIT else value
                for name, (value, column) in cells.items()
                if value is not None
            }
            parts.append(f"{escape(task)}: {json.dumps(values)}")
    return ", ".join(parts) or NOT_AVAILABLE


def last_evaluated(history: Sequence[Record]) -> Record | None:
    """A task's last record that has an evaluation, which the line "Final Validation Metrics" shows."""
    evaluated = (
        record
        for record in reversed(history)
        if any(column.value(record) is not None for column in metric_columns(task_metrics(record["task"])))
    )
    return next(evaluated, None)


def _by_task(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by task, in the order in which the tasks first appear."""
    tasks: dict[str, list[Record]] = {}
    for record in records:
        tasks.setdefault(record["task"], []).append(record)
    return tasks
