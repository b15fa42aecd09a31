"""Each task's metrics: where a record holds them, which direction is better, and their values over a run."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

BUDGETS = ("steps", "passes", "seconds")

# A report lists the first epoch that reached each of these validation accuracies.
MILESTONES = (0.1, 0.5, 0.9, 0.99)

# A perplexity above the limit is printed as "> 1e6": none of its digits means anything.
PERPLEXITY_LIMIT, ABOVE_LIMIT = 1e6, "> 1e6"
# A perplexity above this counts as infinite: the sum of a few would overflow.
_NEARLY_INFINITE = 1e300


def perplexity(loss: float) -> float:
    """e^loss; infinite where a float cannot hold it (a word of many badly predicted tokens)."""
    return math.exp(loss) if loss < 709 else math.inf


def perplexity_text(value: float, spec: str) -> str:
    """A perplexity in the format `spec` up to the limit, and as "> 1e6" above it."""
    return ABOVE_LIMIT if value > PERPLEXITY_LIMIT else format(value, spec)


def value_at(record: Any, path: Iterable[str]) -> Any:
    """The value in nested dictionaries to which the keys `path` lead; None where there is none."""
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


@dataclass(frozen=True)
class Metric:
    """A figure of an epoch or of an evaluation.

    Attributes:
        name: its name on the command line.
        title: its title beside figures, with the unit.
        path: the keys that lead to it in a record.
        higher_is_better: the direction.
    """

    name: str
    title: str
    path: tuple[str, ...]
    higher_is_better: bool = False

    def value(self, record: dict[str, Any]) -> float | None:
        """The figure in a record; None where it has none."""
        value = value_at(record, self.path)
        return math.inf if self._is_perplexity and value is not None and value > _NEARLY_INFINITE else value

    @property
    def _is_perplexity(self) -> bool:
        return self.path[-1] == "perplexity"

    def text(self, value: float) -> str:
        """A value of this metric as text, with four decimals."""
        return perplexity_text(value, ".4f") if self._is_perplexity else f"{value:.4f}"

    def rank(self, value: float) -> tuple[bool, float]:
        """A sort key: the better the value, the greater; NaN is worse than every number."""
        return not math.isnan(value), value if self.higher_is_better else -value

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`; NaN is worse than every number."""
        return self.rank(a) > self.rank(b)

    def reaches(self, value: float, target: float) -> bool:
        """Whether `value` is as good as `target`, or better."""
        return value == target or self.better(value, target)


@dataclass(frozen=True)
class TaskMetrics:
    """The metrics of one task.

    Attributes:
        compared: what runs can be compared by; the first one decides unless the user names another.
        report_columns: the names of those that are the last columns of the reference report format, in order,
            each with the format specification of its cells.
        report_best: the name of the one whose best epoch the line "Best Validation Metrics" shows.
    """

    compared: tuple[Metric, ...]
    report_columns: dict[str, str]
    report_best: str

    def named(self, name: str) -> Metric:
        """The metric `name`."""
        return next(metric for metric in self.compared if metric.name == name)


def _validation(protocol: str, name: str) -> tuple[str, ...]:
    return ("evaluation", "validation", protocol, name)


# By the task's name without its label.
TASK_METRICS = {
    "wikitext2_line": TaskMetrics(
        compared=(
            Metric("loss", "validation loss (strict, nats per target)", _validation("strict", "loss")),
            Metric("bits_per_byte", "validation bits per byte", _validation("strict", "bits_per_byte")),
            Metric("seed_loss", "validation loss (seed protocol)", _validation("seed", "loss")),
            Metric(
                "seed_perplexity", "validation perplexity (seed protocol)", _validation("seed", "perplexity")
            ),
            Metric("train_loss", "training loss (nats per target)", ("train_loss",)),
            Metric(
                "train_loss_strict", "training loss per real target (nats/target)", ("train_loss_strict",)
            ),
        ),
        report_columns={"seed_loss": ".2f", "seed_perplexity": ".2f"},
        report_best="seed_loss",
    ),
    "mod_addition": TaskMetrics(
        compared=(
            Metric("accuracy", "validation accuracy", _validation("all", "accuracy"), higher_is_better=True),
            Metric("loss", "validation loss (nats)", _validation("all", "loss")),
            Metric("train_loss", "training loss (nats)", ("train_loss",)),
        ),
        report_columns={"loss": ".4f", "accuracy": ".4f"},
        report_best="accuracy",
    ),
}
# What runs can be compared by; the first one decides.
METRICS = {name: task.compared for name, task in TASK_METRICS.items()}


def task_name(task: str) -> str:
    """A task's name without its label: "wikitext2_line" for "wikitext2_line (mini)"."""
    return re.sub(r"\s*\([^()]*\)$", "", task)


@dataclass(frozen=True)
class Point:
    """The value of a metric at one evaluation, and the cost of the run up to there.

    Attributes:
        epoch: the current epoch, from 1.
        steps: optimizer steps; None where a report has no such figure.
        passes: forward-backward passes; None likewise.
        seconds: wall-clock time of training; it includes evaluation where a report does not separate the two.
        value: the metric's value.
    """

    epoch: int
    steps: int | None
    passes: int | None
    seconds: float | None
    value: float

    def spent(self, budget: str) -> float | None:
        """The amount of `budget`, one of `BUDGETS`."""
        return {"steps": self.steps, "passes": self.passes, "seconds": self.seconds}[budget]


def history(
    records: Iterable[dict[str, Any]], metric: Metric, within: Sequence[dict[str, Any]] = ()
) -> list[Point]:
    """The metric over a run: a point for each evaluation that has it.

    Args:
        records: the epochs' records.
        metric: any metric.
        within: the records of evaluations within epochs, each with the cost of its epoch so far.
    """
    points, passes, seconds = [], 0, 0.0
    parts = (zip(within, repeat(False)), zip(records, repeat(True)))
    for record, ends_epoch in heapq.merge(*parts, key=lambda part: part[0]["epoch"]):
        passes_so_far = _added(passes, record.get("forward_backward_passes"))
        seconds_so_far = _added(seconds, _training_seconds(record))
        value = metric.value(record)
        if value is not None:
            points.append(Point(record["epoch"], record.get("step"), passes_so_far, seconds_so_far, value))
        if ends_epoch:
            passes, seconds = passes_so_far, seconds_so_far
    return points


def first_reaching(points: Iterable[Point], metric: Metric, target: float) -> Point | None:
    """The first point whose value is as good as `target`."""
    return next((point for point in points if metric.reaches(point.value, target)), None)


def best_point(points: Iterable[Point], metric: Metric) -> Point:
    """The best point, the first one of equals; NaN is worse than every number.

    Raises:
        ValueError: `points` is empty.
    """
    return max(points, key=lambda point: metric.rank(point.value))


def milestones(records: Iterable[dict[str, Any]]) -> dict[float, Point | None]:
    """The point at which a run of `mod_addition` first reached each validation accuracy in `MILESTONES`."""
    accuracy = METRICS["mod_addition"][0]
    points = history(records, accuracy)
    return {target: first_reaching(points, accuracy, target) for target in MILESTONES}


def _training_seconds(record: dict[str, Any]) -> float | None:
    """Without evaluations: they cost every optimizer the same, and would hide differences."""
    total = record.get("epoch_seconds")
    return None if total is None else total - (record.get("evaluation_seconds") or 0.0)


def _added(total: Any, value: Any) -> Any:
    return None if total is None or value is None else total + value
