"""The tables of a report as data: one `Column` says where a value is, how it is written and how it is read.

To add a column, add a line to one of the lists below; writing and reading back follow from it. The list
`BEFORE_DIAGNOSTICS` and the metrics of `wikitext2_line` are the seed report's form and do not change.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from arsbench.metrics import ABOVE_LIMIT, perplexity_text, task_name

NOT_AVAILABLE = "N/A"

Record = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of a table whose rows are records.

    Attributes:
        header: its title.
        path: the keys that lead to its value in a record.
        spec: the format specification of its cells.
        parse: what turns a cell's text back into a value.
    """

    header: str
    path: tuple[str, ...]
    spec: str
    parse: Callable[[str], Any] = float

    def value(self, record: Record) -> Any:
        """The value in `record`, or None where it has none."""
        value: Any = record
        for key in self.path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def format(self, value: Any) -> str:
        """A cell's text."""
        return NOT_AVAILABLE if value is None else format(value, self.spec)

    def read(self, cell: str, record: Record) -> None:
        """Put the value of a cell into `record`, None for one that is not available.

        Raises:
            ValueError: the cell is not of this column's kind.
        """
        if "," in self.spec:
            cell = cell.replace(",", "")
        self.put(None if cell == NOT_AVAILABLE else self.parse(cell), record)

    def put(self, value: Any, record: Record) -> None:
        """Put a value into `record`."""
        *parents, last = self.path
        for key in parents:
            record = record.setdefault(key, {})
        record[last] = value


class Perplexity(Column):
    """A perplexity, printed as "> 1e6" above that, and then read back as infinite."""

    def format(self, value: Any) -> str:
        """A cell's text."""
        return NOT_AVAILABLE if value is None else perplexity_text(value, self.spec)

    def read(self, cell: str, record: Record) -> None:
        """Put the value of a cell into `record` (see `Column.read`)."""
        if cell == ABOVE_LIMIT:
            self.put(math.inf, record)
        else:
            super().read(cell, record)


EPOCH = Column("Epoch", ("epoch",), "d", int)
TASK = Column("Task", ("task",), "", str)

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


@dataclass(frozen=True)
class Metrics:
    """The last columns of the seed report's table, which are the task's own.

    Attributes:
        columns: by their names in the Performance Summary.
        deciding: the name of the one that the best epoch is best by.
        higher_is_better: whether more of that one is better.
    """

    columns: dict[str, Column]
    deciding: str = "loss"
    higher_is_better: bool = False

    def best(self, history: Iterable[Record]) -> Record | None:
        """The first record of the best value, NaN left out."""
        column = self.columns[self.deciding]
        known = [record for record in history if column.value(record) is not None]
        comparable = [record for record in known if not math.isnan(column.value(record))]
        choose = max if self.higher_is_better else min
        return choose(comparable, key=column.value, default=None)


def _evaluated(header: str, protocol: str, spec: str, kind: type[Column] = Column) -> Column:
    return kind(f"Eval {header}", ("evaluation", "validation", protocol, header.lower()), spec)


METRICS = {
    "wikitext2_line": Metrics(
        {
            "loss": _evaluated("Loss", "seed", ".2f"),  # the protocol that the seed report used
            "perplexity": _evaluated("Perplexity", "seed", ".2f", Perplexity),
        }
    ),
    "mod_addition": Metrics(
        {"loss": _evaluated("Loss", "all", ".4f"), "accuracy": _evaluated("Accuracy", "all", ".4f")},
        deciding="accuracy",
        higher_is_better=True,
    ),
}


def metrics_of(task: str) -> Metrics:
    """A task's, with or without its label; one that is not known is a task of language, as the seed's."""
    return METRICS.get(task_name(task), METRICS["wikitext2_line"])


# Rows of this table are an epoch's record with one "split" of its evaluation: its name and its "metrics".
STRICT = [
    EPOCH,
    TASK,
    Column("Split", ("split",), "", str),
    Column("Loss", ("metrics", "loss"), ".4f"),
    Perplexity("Perplexity", ("metrics", "perplexity"), ",.2f"),
    Column("Bits per byte", ("metrics", "bits_per_byte"), ".4f"),
    Perplexity("Word perplexity", ("metrics", "word_perplexity"), ",.2f"),
    Column("Targets", ("metrics", "targets"), ",d", int),
]

COST = [
    EPOCH,
    TASK,
    Column("Last step", ("step",), ",d", int),
    Column("Forward-backward passes", ("forward_backward_passes",), ",d", int),
    # In full, since what is read back is summed over epochs, which may be of hundredths of a second.
    Column("Epoch time (s)", ("epoch_seconds",), ".6f"),
    Column("of it evaluation (s)", ("evaluation_seconds",), ".6f"),
    Column("Tokens/s", ("tokens_per_second",), ",.0f"),
    Column("Peak GPU memory (MiB)", ("peak_gpu_mib",), ",.1f"),
    Column("Peak resident memory (MiB)", ("peak_rss_mib",), ",.1f"),
    Column("Entropy (nats per token)", ("entropy_nats",), ".4f"),
]

MILESTONES = [
    Column("Accuracy", ("target",), ".0%"),
    Column("Epoch", ("epoch",), ",d"),
    Column("Step", ("steps",), ",d"),
    Column("Forward-backward passes", ("passes",), ",d"),
    Column("Seconds", ("seconds",), ",.1f"),
]

TRAIN_ACCURACY = Column("Train accuracy", ("train_accuracy",), ".4f")

# A diagnostic measured before the flatness vector is injected: the ends of its name, and of its column's.
_BEFORE_INJECTION, _BEFORE = "_pre", " before"


def diagnostic_column(name: str) -> Column:
    """The seed form's column of the diagnostic `name`."""
    return Column(DIAGNOSTIC_PREFIX + name, ("diagnostics", name), ".4f")


def seed_columns(records: Iterable[Record], task: str, *, as_found: bool) -> list[Column]:
    """The columns of the seed report's table for these records.

    Args:
        records: of epochs.
        task: of them all, which decides the last columns.
        as_found: leave the diagnostics in the records' order, as a report that was read back had them;
            otherwise they are in the order of their numbers.
    """
    names = [name for name in _diagnostics(records) if not name.endswith(_BEFORE_INJECTION)]
    if not as_found:
        names.sort(key=_natural)
    return [*BEFORE_DIAGNOSTICS, *map(diagnostic_column, names), *metrics_of(task).columns.values()]


def cost_columns(records: Sequence[Record]) -> list[Column]:
    """The columns of the table of cost and diagnostics for these records."""
    accuracy = [TRAIN_ACCURACY] if any(TRAIN_ACCURACY.value(record) is not None for record in records) else []
    names = sorted((n for n in _diagnostics(records) if n.endswith(_BEFORE_INJECTION)), key=_natural)
    return [*COST, *accuracy, *(_before_column(n.removesuffix(_BEFORE_INJECTION)) for n in names)]


def cost_column(header: str) -> Column | None:
    """The column of that table with this header, None where it has no such."""
    if header.endswith(_BEFORE):
        return _before_column(header.removesuffix(_BEFORE))
    return next((column for column in (*COST, TRAIN_ACCURACY) if column.header == header), None)


def table(columns: Sequence[Column], records: Iterable[Record]) -> list[list[str]]:
    """Headers, then a row of cells for each record."""
    headers = [column.header for column in columns]
    return [headers, *([column.format(column.value(record)) for column in columns] for record in records)]


def text_of(value: Any) -> str:
    """A value as a cell: texts as they are, everything else as JSON."""
    if value is None:
        return NOT_AVAILABLE
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _diagnostics(records: Iterable[Record]) -> list[str]:
    """The names of all diagnostics in the order in which they first appear."""
    return list(dict.fromkeys(name for record in records for name in record.get("diagnostics") or ()))


def _before_column(name: str) -> Column:
    return Column(name + _BEFORE, ("diagnostics", name + _BEFORE_INJECTION), ".4f")


def _natural(name: str) -> list[Any]:
    """Sort key in which cos_pos_10 comes after cos_pos_2."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
