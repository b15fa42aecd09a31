"""The tables of a report as data: a `Column` says where a value is in a record and how its cell is written.

To add a column, add a line to one of the lists of the details below. The columns of the reference report
format (`BEFORE_DIAGNOSTICS`, and `TASK_METRICS` in arsbench/metrics.py) never change.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arsbench.metrics import ABOVE_LIMIT, TASK_METRICS, TaskMetrics, perplexity_text, task_name, value_at
from arsbench.report.content import Record

NOT_AVAILABLE = "N/A"


@dataclass(frozen=True)
class Column:
    """One column of a table whose rows are records.

    Attributes:
        header: its title.
        path: the keys that lead to its value in a record.
        spec: the format specification of its cells.
    """

    header: str
    path: tuple[str, ...]
    spec: str

    @property
    def name(self) -> str:
        """The name of its value, such as "loss"."""
        return self.path[-1]

    @property
    def is_perplexity(self) -> bool:
        """Whether values above 1e6 are written as "> 1e6", and then read as infinite."""
        return self.name.endswith("perplexity")

    def value(self, record: Record) -> Any:
        """The value in `record`, or None where it has none."""
        return value_at(record, self.path)

    def format(self, value: Any) -> str:
        """The text of a cell."""
        if value is None:
            return NOT_AVAILABLE
        return perplexity_text(value, self.spec) if self.is_perplexity else format(value, self.spec)

    def read(self, cell: str, record: Record) -> None:
        """Put the value of a cell of the reference format into `record`; None for "N/A".

        Raises:
            ValueError: the cell does not hold a value of this column.
        """
        if cell == NOT_AVAILABLE:
            value = None
        elif cell == ABOVE_LIMIT and self.is_perplexity:
            value = math.inf
        else:
            value = {"d": int, "": str}.get(self.spec, float)(cell)
        self.put(value, record)

    def put(self, value: Any, record: Record) -> None:
        """Put a value into `record`."""
        for key in self.path[:-1]:
            record = record.setdefault(key, {})
        record[self.name] = value


EPOCH = Column("Epoch", ("epoch",), "d")
TASK = Column("Task", ("task",), "")

BEFORE_DIAGNOSTICS = [
    EPOCH,
    TASK,
    Column("Train Loss", ("train_loss",), ".4f"),
    Column("LR", ("lr",), ".6f"),
    Column("PI", ("pi",), ".3f"),
    Column("Eff. Gamma", ("effective_gamma",), ".3f"),
    Column("Entropy", ("entropy",), ".3f"),
    Column("Grad Norm", ("grad_norm",), ".4f"),
    Column("Epoch Time (s)", ("epoch_seconds",), ".2f"),
    Column("Peak GPU Mem (MB)", ("peak_gpu_mib",), ".1f"),
]
DIAGNOSTIC_PREFIX = "Diag "

# A row of this table is an epoch's record with one split of its evaluation: "split", and its "metrics".
STRICT_COLUMNS = [
    EPOCH,
    TASK,
    Column("Split", ("split",), ""),
    Column("Loss", ("metrics", "loss"), ".4f"),
    Column("Perplexity", ("metrics", "perplexity"), ",.2f"),
    Column("Bits per byte", ("metrics", "bits_per_byte"), ".4f"),
    Column("Word perplexity", ("metrics", "word_perplexity"), ",.2f"),
    Column("Targets", ("metrics", "targets"), ",d"),
]

_COST = [
    EPOCH,
    TASK,
    Column("Last step", ("step",), ",d"),
    Column("Forward-backward passes", ("forward_backward_passes",), ",d"),
    Column("Epoch time (s)", ("epoch_seconds",), ".6f"),
    Column("Evaluation time (s)", ("evaluation_seconds",), ".6f"),
    Column("Tokens/s", ("tokens_per_second",), ",.0f"),
    Column("Peak GPU memory (MiB)", ("peak_gpu_mib",), ",.1f"),
    Column("Peak resident memory (MiB)", ("peak_rss_mib",), ",.1f"),
    Column("Entropy (nats per token)", ("entropy_nats",), ".4f"),
]
_WHERE_RECORDED = [
    Column("Train loss (strict)", ("train_loss_strict",), ".4f"),
    Column("Train accuracy", ("train_accuracy",), ".4f"),
]

MILESTONE_COLUMNS = [
    Column("Accuracy", ("target",), ".0%"),
    Column("Epoch", ("epoch",), ",d"),
    Column("Step", ("steps",), ",d"),
    Column("Forward-backward passes", ("passes",), ",d"),
    Column("Seconds", ("seconds",), ",.1f"),
]

# The end of the name of a diagnostic that is measured before the flatness vector is injected.
_BEFORE_INJECTION = "_pre"


def task_metrics(task: str) -> TaskMetrics:
    """The metrics of a task, with or without its label; an unknown task counts as a language task."""
    return TASK_METRICS.get(task_name(task), TASK_METRICS["wikitext2_line"])


def metric_columns(metrics: TaskMetrics) -> list[Column]:
    """The last columns of the reference format for a task with these metrics."""
    paths = [(metrics.named(name).path, spec) for name, spec in metrics.report_columns.items()]
    return [Column(f"Eval {path[-1].capitalize()}", path, spec) for path, spec in paths]


def seed_columns(records: Iterable[Record], task: str, *, as_found: bool) -> list[Column]:
    """The columns of the reference format's table for these records.

    Args:
        records: the epochs' records.
        task: their task, which decides the last columns.
        as_found: whether diagnostics keep the records' order, as in a report that was read; otherwise they
            are sorted by their numbers.
    """
    names = [name for name in _diagnostics(records) if not name.endswith(_BEFORE_INJECTION)]
    if not as_found:
        names.sort(key=_natural)
    diagnostics = [Column(DIAGNOSTIC_PREFIX + name, ("diagnostics", name), ".4f") for name in names]
    return [*BEFORE_DIAGNOSTICS, *diagnostics, *metric_columns(task_metrics(task))]


def cost_columns(records: Sequence[Record]) -> list[Column]:
    """The columns of the table "Cost and Diagnostics" for these records."""
    recorded = [c for c in _WHERE_RECORDED if any(c.value(record) is not None for record in records)]
    names = sorted((n for n in _diagnostics(records) if n.endswith(_BEFORE_INJECTION)), key=_natural)
    cosines = [
        Column(f"{name.removesuffix(_BEFORE_INJECTION)} before injection", ("diagnostics", name), ".4f")
        for name in names
    ]
    return [*_COST, *recorded, *cosines]


def table(columns: Sequence[Column], records: Iterable[Record]) -> list[list[str]]:
    """The headers, then a row of cells for each record."""
    headers = [column.header for column in columns]
    return [headers, *([column.format(column.value(record)) for column in columns] for record in records)]


def text_of(value: Any) -> str:
    """A value as the text of a cell: texts unchanged, everything else as JSON."""
    if value is None:
        return NOT_AVAILABLE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _diagnostics(records: Iterable[Record]) -> list[str]:
    """The names of all diagnostics in the order in which they first appear."""
    return list(dict.fromkeys(name for record in records for name in record.get("diagnostics") or ()))


def _natural(name: str) -> list[Any]:
    """Sort key that puts cos_pos_10 after cos_pos_2."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
