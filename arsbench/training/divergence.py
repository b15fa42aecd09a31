"""When a run counts as diverged although every figure is finite."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Divergence: a loss above this multiple of the uniform prediction's, after a loss below that prediction's.
LIMIT = 2.0


@dataclass
class Divergence:
    """Watches the training loss of every step, including steps without a record.

    A run has learned once a step's loss was below the uniform prediction's, ln(classes). If a later step's
    loss is above twice that, the run has diverged. It continues to train, and stays marked as diverged.

    Attributes:
        classes: the number of classes of a prediction.
        learned: whether a loss was below ln(classes).
        step: the first step of a loss above 2 ln(classes) after that; None without one.
    """

    classes: int
    learned: bool = False
    step: int | None = None

    @property
    def uniform(self) -> float:
        """The loss of a uniform prediction, nats."""
        return math.log(self.classes)

    def add(self, step: int, loss: float) -> bool:
        """Take the next step's loss, nats; returns whether the run diverges at this step."""
        diverges = self.step is None and self.learned and loss > LIMIT * self.uniform
        if diverges:
            self.step = step
        self.learned = self.learned or loss < self.uniform
        return diverges
