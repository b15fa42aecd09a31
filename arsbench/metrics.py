"""What a task is judged by: each metric's place in an epoch's record, and which way is better."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A figure of an evaluation.

    Attributes:
        name: as the command line takes it.
        title: as it stands beside figures, with its unit.
        path: the keys that lead to it in an epoch's record.
        higher_is_better: whether more of it is better.
    """

    name: str
    title: str
    path: tuple[str, ...]
    higher_is_better: bool = False

    def value(self, record: dict[str, Any]) -> float | None:
        """The figure in an epoch's record, or None where it has none."""
        value: Any = record
        for key in self.path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`; a NaN is worse than everything else."""
        if math.isnan(a) or math.isnan(b):
            return not math.isnan(a)
        return a > b if self.higher_is_better else a < b


def _validation(protocol: str, name: str) -> tuple[str, ...]:
    return ("evaluation", "validation", protocol, name)


# Of each task, by its name without label; the first is the one that decides.
METRICS: dict[str, tuple[Metric, ...]] = {
    "wikitext2_line": (
        Metric("loss", "validation loss (strict, nats per target)", _validation("strict", "loss")),
        Metric("bits_per_byte", "validation bits per byte", _validation("strict", "bits_per_byte")),
        Metric("seed_loss", "validation loss (seed protocol)", _validation("seed", "loss")),
        Metric("seed_perplexity", "validation perplexity (seed protocol)", _validation("seed", "perplexity")),
        Metric("train_loss", "training loss (nats per target)", ("train_loss",)),
    ),
    "mod_addition": (
        Metric("accuracy", "validation accuracy", _validation("all", "accuracy"), higher_is_better=True),
        Metric("loss", "validation loss (nats)", _validation("all", "loss")),
        Metric("train_loss", "training loss (nats)", ("train_loss",)),
    ),
}


def task_name(task: str) -> str:
    """A task without its label: "wikitext2_line" of "wikitext2_line (mini)"."""
    return re.sub(r"\s*\([^()]*\)$", "", task)
