"""What a task is judged by: each metric's place in an epoch's record, which way is better, its course."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

BUDGETS = ("steps", "passes", "seconds")

# The accuracies whose first epoch a report names.
MILESTONES = (0.1, 0.5, 0.9, 0.99)


# A perplexity above the limit is printed so: not one of its digits means anything.
PERPLEXITY_LIMIT, ABOVE_LIMIT = 1e6, "> 1e6"
# One above this counts as infinite: a sum of a few would overflow.
_NEARLY_INFINITE = 1e300


def perplexity(loss: float) -> float:
    """e^loss, infinite where a float cannot hold it (a word of many badly predicted tokens)."""
    return math.exp(loss) if loss < 709 else math.inf


def perplexity_text(value: float, spec: str) -> str:
    """A perplexity as text: by the format specification up to the limit, and "> 1e6" above it."""
    return ABOVE_LIMIT if value > PERPLEXITY_LIMIT else format(value, spec)


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
        return math.inf if self._is_perplexity and value is not None and value > _NEARLY_INFINITE else value

    @property
    def _is_perplexity(self) -> bool:
        return self.path[-1] == "perplexity"

    def text(self, value: float) -> str:
        """A value of this metric as text."""
        return perplexity_text(value, ".4f") if self._is_perplexity else f"{value:.4f}"

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`; a NaN is worse than everything else."""
        if math.isnan(a) or math.isnan(b):
            return not math.isnan(a)
        return a > b if self.higher_is_better else a < b

    def reaches(self, value: float, target: float) -> bool:
        """Whether `value` is as good as `target`, or better."""
        return value == target or self.better(value, target)


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


@dataclass(frozen=True)
class Point:
    """A metric at an evaluation, and what had been spent by then.

    Attributes:
        epoch: 1-based; the current one.
        steps: optimizer steps; None where a report does not tell.
        passes: forward-backward passes; None likewise.
        seconds: wall clock of training; where a report does not tell them apart, of evaluation besides.
        value: the metric.
    """

    epoch: int
    steps: int | None
    passes: int | None
    seconds: float | None
    value: float

    def spent(self, budget: str) -> float | None:
        """Of `budget`, one of `BUDGETS`."""
        return {"steps": self.steps, "passes": self.passes, "seconds": self.seconds}[budget]


def history(
    records: Iterable[dict[str, Any]], metric: Metric, within: Sequence[dict[str, Any]] = ()
) -> list[Point]:
    """The metric over a run, an entry for each evaluation that has it.

    Args:
        records: of the epochs.
        metric: any.
        within: of evaluations within epochs, each with what its own epoch had spent by then.
    """
    points, passes, seconds, left = [], 0, 0.0, list(within)

    def add(record: dict[str, Any]) -> tuple[float | None, float | None]:
        spent = [
            _added(passes, record.get("forward_backward_passes")),
            _added(seconds, _training_seconds(record)),
        ]
        value = metric.value(record)
        if value is not None:
            points.append(Point(record["epoch"], record.get("step"), *spent, value))
        return spent

    for record in records:
        while left and left[0]["epoch"] <= record["epoch"]:
            add(left.pop(0))
        passes, seconds = add(record)
    for record in left:  # of an epoch that has not ended
        add(record)
    return points


def first_reaching(points: Iterable[Point], metric: Metric, target: float) -> Point | None:
    """The first point whose value is as good as `target`."""
    return next((point for point in points if metric.reaches(point.value, target)), None)


def best_point(points: Iterable[Point], metric: Metric) -> Point:
    """The first of the best points; NaN is worse than every number.

    Raises:
        ValueError: there are none.
    """
    best, *rest = points
    for point in rest:
        best = point if metric.better(point.value, best.value) else best
    return best


def milestones(records: Iterable[dict[str, Any]]) -> dict[float, Point | None]:
    """Where the validation accuracy of a run of `mod_addition` first reached each of `MILESTONES`."""
    accuracy = METRICS["mod_addition"][0]
    points = history(records, accuracy)
    return {target: first_reaching(points, accuracy, target) for target in MILESTONES}


def _training_seconds(record: dict[str, Any]) -> float | None:
    """Evaluations cost every optimizer alike, and would make them look more alike than they are."""
    total = record.get("epoch_seconds")
    return None if total is None else total - (record.get("evaluation_seconds") or 0.0)


def _added(total: float | None, value: float | None) -> float | None:
    return None if total is None or value is None else total + value
