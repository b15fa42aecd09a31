"""Writing a report: its tables and figures; templates/summary.md.j2 is the document."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arsbench.metrics import ABOVE_LIMIT, milestones, task_name
from arsbench.report.columns import (
    MILESTONE_COLUMNS,
    NOT_AVAILABLE,
    STRICT_COLUMNS,
    cost_columns,
    metric_columns,
    seed_columns,
    table,
    task_metrics,
    text_of,
)
from arsbench.report.content import Record, Report
from arsbench.report.data_block import data_block
from arsbench.report.markup import escape
from arsbench.report.rendering import fill
from arsbench.runs.folder import RunFolder


def write(run: RunFolder) -> Path:
    """Write the run's `summary.md` and return its path."""
    return run.write_summary(render(run))


def render(run: RunFolder) -> str:
    """The run's report as Markdown: the reference format, then, unless imported, its details and its data."""
    return markdown_of(Report.of(run))


def markdown_of(report: Report) -> str:
    """A report as Markdown."""
    message = " ".join(report.message.split()).rstrip(".")
    return fill(
        "report/templates/summary.md.j2",
        report=report,
        results=_results(report),
        best=_best(report.epochs),
        final=_final(report.epochs),
        message=f" {escape(message[0].upper() + message[1:])}." if message else "",
        **({} if report.imported else _details(report)),
    )


def results_table(run: RunFolder) -> list[list[str]]:
    """The cells of the table "Training Results": the headers, then a row for each epoch and task."""
    return _results(Report.of(run))


def _results(report: Report) -> list[list[str]]:
    return table(seed_columns(report.epochs, report.task, as_found=report.imported), report.epochs)


def _details(report: Report) -> dict[str, Any]:
    """The tables after the reference format; "milestones" is None where accuracy does not judge the task."""
    records = report.epochs
    strict = [
        {**record, "split": split, "metrics": protocols["strict"]}
        for record in records
        for split, protocols in (record.get("evaluation") or {}).items()
        if protocols.get("strict")
    ]
    reached = [
        {"target": target, **(vars(point) if point else {})} for target, point in milestones(records).items()
    ]
    facts = dict(report.environment)
    backends = facts.pop("backends", {})
    return {
        "has_cosines": any(record.get("diagnostics") for record in records),
        "milestones": table(MILESTONE_COLUMNS, reached) if task_name(report.task) == "mod_addition" else None,
        "strict": table(STRICT_COLUMNS, strict),
        "cost": table(cost_columns(records), records),
        "groups": [("Group", "Tensors", "Parameters", "Hyperparameters"), *map(_group_cells, report.groups)],
        "backends": [("Op", "Backend"), *((op, text_of(name)) for op, name in backends.items())],
        "environment": [("Fact", "Value"), *((name, text_of(value)) for name, value in facts.items())],
        "data": data_block(report),
    }


def _group_cells(group: dict[str, Any]) -> list[str]:
    hyperparameters = (f"{name} {text_of(value)}" for name, value in group["hyperparameters"].items())
    counts = (format(group[key], ",d") for key in ("tensors", "parameters"))
    return [group["name"], *counts, ", ".join(hyperparameters)]


def _best(records: Sequence[Record]) -> str:
    """The metrics of each task's best epoch: the first of the smallest loss or the highest accuracy."""
    parts = []
    for task in _tasks(records):
        metrics = task_metrics(task)
        decides = metrics.named(metrics.report_best)
        values = [(decides.value(record), record) for record in records if record["task"] == task]
        numbers = [(value, record) for value, record in values if value is not None and not math.isnan(value)]
        _, best = max(numbers, key=lambda pair: decides.rank(pair[0]), default=(None, {}))
        for column in metric_columns(metrics):
            parts.append(f"{escape(task)} {column.name.capitalize()}: {column.format(column.value(best))}")
    return ", ".join(parts) or f"{NOT_AVAILABLE} (no epoch is complete)"


def _final(records: Sequence[Record]) -> str:
    """Each task's last evaluation in full precision; a perplexity above 1e6 is "> 1e6"."""
    parts = []
    for task, record in last_evaluated(records).items():
        numbers = {}
        for column in metric_columns(task_metrics(task)):
            value = column.value(record)
            if value is not None:
                numbers[column.name] = ABOVE_LIMIT if column.format(value) == ABOVE_LIMIT else value
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
