"""Writing a report in the seed report's form, to the letter."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from arsbench.records import RunFolder
from arsbench.report.columns import METRICS, NOT_AVAILABLE, Record, seed_columns, table, table_lines
from arsbench.report.details import details_lines

TITLE = "# ARS-Bench Experiment Report"
CONFIGURATION = "## Configuration Summary"
RESULTS = "## Training Results"
PERFORMANCE = "## Performance Summary"
BEST = "- **Best Validation Metrics**: "
FINAL = "- **Final Validation Metrics**: "
JSON_FENCE, FENCE = "```json", "```"


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
        lines += ["", *details_lines(run)]
    return "\n".join(lines) + "\n"


def results_table(run: RunFolder) -> list[list[str]]:
    """The cells of the report's Training Results: the headers, then a row for each epoch and task."""
    records = run.epochs()
    return table(seed_columns(records, as_found=run.imported), records)


def _best(records: Sequence[Record]) -> str:
    """Each task's smallest loss and the perplexity of that epoch."""
    loss_column = METRICS["loss"]
    parts = []
    for task, history in _by_task(records).items():
        losses = [(loss_column.value(record), record) for record in history]
        comparable = [(loss, record) for loss, record in losses if loss is not None and not math.isnan(loss)]
        best = min(comparable, key=lambda pair: pair[0])[1] if comparable else {}
        for name, column in METRICS.items():
            parts.append(f"{task} {name.capitalize()}: {column.format(column.value(best))}")
    return ", ".join(parts) or f"{NOT_AVAILABLE} (no epoch is complete)"


def _final(records: Sequence[Record]) -> str:
    """Each task's last evaluation in full precision."""
    parts = []
    for task, history in _by_task(records).items():
        last = last_evaluated(history)
        if last is not None:
            metrics = {name: column.value(last) for name, column in METRICS.items()}
            known = {name: value for name, value in metrics.items() if value is not None}
            parts.append(f"{task}: {json.dumps(known)}")
    return ", ".join(parts) or NOT_AVAILABLE


def last_evaluated(history: Sequence[Record]) -> Record | None:
    """The last record that has any evaluation, which the Final line is about."""
    evaluated = (r for r in reversed(history) if any(c.value(r) is not None for c in METRICS.values()))
    return next(evaluated, None)


def _by_task(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by task, tasks in the order in which they first appear."""
    tasks: dict[str, list[Record]] = {}
    for record in records:
        tasks.setdefault(record["task"], []).append(record)
    return tasks
