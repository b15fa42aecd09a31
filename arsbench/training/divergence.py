"""When a run counts as diverged, though every number in it is finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# A loss above this many times the uniform prediction's is divergence in a run that had learned something.
LIMIT = 2.0


@dataclass
class Divergence:
    """Watches the training loss of every step, recorded in the run's folder or not.

    A run has learned once a step's loss was below the uniform prediction's, ln(classes). If a later step's
    loss is above twice that, the run has diverged. It trains on, and remains diverged whatever follows.

    Attributes:
        classes: how many a prediction chooses among.
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

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`."""
        return {"learned": self.learned, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.learned, self.step = state["learned"], state["step"]
