"""Writing a report in the seed report's form, to the letter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from arsbench.metrics import ABOVE_LIMIT
from arsbench.report.columns import NOT_AVAILABLE, Record, metrics_of, seed_columns, table
from arsbench.report.details import details_lines
from arsbench.report.lines import FENCE, JSON_FENCE
from arsbench.report.markup import escape, table_lines
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
    """The run's report as Markdown: the seed report's form, then, unless imported, this run's details."""
    records = run.epochs()
    lines = [
        TITLE,
        "",
        CONFIGURATION,
        JSON_FENCE,
        *json.dumps(run.config, indent=2).split("\n"),
        FENCE,
        "",
        RESULTS,
        *table_lines(results_table(run)),
        "",
        PERFORMANCE,
        BEST + _best(records),
        FINAL + _final(records),
    ]
    if not run.imported:
        lines += ["", *details_lines(run, task_of(run))]
    return "\n".join(lines) + "\n"


def results_table(run: RunFolder) -> list[list[str]]:
    """The cells of the report's Training Results: the headers, then a row for each epoch and task."""
    records = run.epochs()
    return table(seed_columns(records, task_of(run), as_found=run.imported), records)


def task_of(run: RunFolder) -> str:
    """The run's task, label included; "" where neither records nor configuration tell."""
    for record in run.epochs():
        return record["task"]
    experiment = run.config.get("experiment")
    tasks = experiment.get("tasks") if isinstance(experiment, dict) else None
    return str(tasks[0]) if isinstance(tasks, list) and tasks else ""


def _best(records: Sequence[Record]) -> str:
    """The metrics of each task's best epoch: of the smallest loss, or the highest accuracy."""
    parts = []
    for task, history in _by_task(records).items():
        metrics = metrics_of(task)
        best = metrics.best(history) or {}
        for name, column in metrics.columns.items():
            parts.append(f"{escape(task)} {name.capitalize()}: {column.format(column.value(best))}")
    return ", ".join(parts) or f"{NOT_AVAILABLE} (no epoch is complete)"


def _final(records: Sequence[Record]) -> str:
    """Each task's last evaluation in full precision; of a perplexity above 1e6 the loss tells it."""
    parts = []
    for task, history in _by_task(records).items():
        last = last_evaluated(history)
        if last is not None:
            columns = metrics_of(task).columns
            values = {name: column.value(last) for name, column in columns.items()}
            known = {
                name: ABOVE_LIMIT if columns[name].format(value) == ABOVE_LIMIT else value
                for name, value in values.items()
                if value is not None
            }
            parts.append(f"{escape(task)}: {json.dumps(known)}")
    return ", ".join(parts) or NOT_AVAILABLE


def last_evaluated(history: Sequence[Record]) -> Record | None:
    """The last record that has any evaluation, which the Final line is about."""
    evaluated = (
        record
        for record in reversed(history)
        if any(column.value(record) is not None for column in metrics_of(record["task"]).columns.values())
    )
    return next(evaluated, None)


def _by_task(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by task, tasks in the order in which they first appear."""
    tasks: dict[str, list[Record]] = {}
    for record in records:
        tasks.setdefault(record["task"], []).append(record)
    return tasks
