"""Steps whose figures still lie on the device."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Step:
    """An optimizer step that has been launched, and perhaps not computed yet."""

    record: dict[str, Any]
    """What is known without the device: `step`, `tokens`, ..."""
    figures: dict[str, Tensor | float]
    """What is computed there: `loss`, `entropy_nats`, `grad_norm`; tensors of shape ()."""
    diagnostics: dict[str, Tensor | float]
    """What else the optimizer measured."""


class Readings:
    """The steps since figures were last read.

    To read a figure is to wait for the device, and while it waits the host prepares nothing: on a GPU many
    steps' figures are read at once.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._started = 0.0

    def begin(self) -> None:
        """A step begins; the time until the figures are read is that of the steps in between."""
        if not self._steps:
            self._started = time.perf_counter()

    def add(self, step: Step) -> None:
        """The step has been launched."""
        self._steps.append(step)

    def read(self) -> list[dict[str, Any]]:
        """Wait for the device.

        Returns:
            the steps' records, oldest first, with their figures and their share of the `seconds`; the last
            one also with its `diagnostics`.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return []
        numbers = iter(_numbers([value for step in steps for value in step.figures.values()]))
        seconds = (time.perf_counter() - self._started) / len(steps)
        records = [
            step.record | {name: next(numbers) for name in step.figures} | {"seconds": seconds}
            for step in steps
        ]
        records[-1]["diagnostics"] = {name: float(value) for name, value in steps[-1].diagnostics.items()}
        return records


def _numbers(values: list[Tensor | float]) -> list[float]:
    """All of them, with one wait for the device."""
    tensors = [value.double() for value in values if isinstance(value, Tensor)]
    read = iter(torch.stack(tensors).tolist() if tensors else [])
    return [next(read) if isinstance(value, Tensor) else float(value) for value in values]
