"""The interface of every task: data, model, loss, and the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from arsbench.config import Config
from arsbench.errors import UserError
from arsbench.models import LossOutput
from arsbench.runs.folder import RunFolder


class EvaluationSplit(Protocol):
    """The data of an evaluation."""

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of the whole split, in order, on the CPU."""


class Tally(Protocol):
    """The sums of one evaluation. They stay on the device until `figures` reads them."""

    def add(self, output: LossOutput, targets: Tensor) -> None:
        """Count a batch."""

    def figures(self) -> dict[str, dict[str, float | int]]:
        """The metrics, by protocol and name (see `arsbench.metrics`)."""


class Task(Protocol):
    """Data, model, loss and metrics of one task under a run's configuration (see `create_task`).

    A task derives from this class and documents only what it adds to the methods here.
    """

    config: Config

    @property
    def classes(self) -> int:
        """The number of classes of a prediction."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch, at least 1; batches that do not fill the last step are dropped."""

    @property
    def pad_id(self) -> int | None:
        """The target that stands for padding; `loss_strict` leaves it out. None without padding."""
        return None

    def fingerprint(self) -> dict[str, str]:
        """Hashes of what a resumed run needs unchanged; an evaluation split under its name."""

    def store(self, run: RunFolder) -> None:
        """Write to the run's folder what `create_task` needs, unless it is there; by default nothing."""

    def build_model(self) -> torch.nn.Module:
        """The model, freshly initialised from torch's global generator; its `loss` takes a batch."""

    def training_steps(self, epoch: int, start: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The batches of each optimizer step of an epoch, from its step `start` (0-based) on.

        They depend on epoch and step alone, so that a resumed run gets the same batches.

        Yields:
            `train.accumulate` pairs of inputs and targets, on the CPU.
        """

    def loss(self, model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> LossOutput:
        """The training loss of a batch: by default the mean over its targets."""
        return model.loss(inputs, targets)

    def evaluation_splits(self) -> dict[str, EvaluationSplit]:
        """ "validation" first; "test", if there is one, is evaluated once, after training."""

    def tally(self, split: EvaluationSplit, device: torch.device) -> Tally:
        """Empty sums for an evaluation of `split`."""

    def _require_model(self, model_type: str, preset: str) -> None:
        """Refuse a configuration whose model is not the task's; `preset` is one that has it."""
        config = self.config
        if config.model.type != model_type:
            raise UserError(
                f"model.type is {config.model.type!r}; {config.task} needs {model_type}, as in the preset "
                f"{preset}"
            )

    def _require_steps(self, batches: int, place: str) -> None:
        """Refuse `train.accumulate` if the batches in `place` do not fill one step."""
        if self.steps_per_epoch == 0:
            raise UserError(
                f"train.accumulate is {self.config.train.accumulate}; it must be ≤ {batches}, the number of "
                f"batches in {place}"
            )


def changed_names(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of a `fingerprint` whose hashes differ from those before."""
    return [name for name, value in now.items() if before.get(name) != value]
