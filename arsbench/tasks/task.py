"""What every task gives the trainer: data, model, loss, and what an evaluation counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from arsbench.config import Config
from arsbench.runs.folder import RunFolder


class Output(Protocol):
    """What a loss consists of.

    Attributes:
        loss: (), differentiable; what training minimises.
        token_loss: nats of every target; not differentiable.
        entropy: of every prediction, nats; not differentiable.
        correct: whether every prediction is right, bool, or None where the task does not ask.
    """

    @property
    def loss(self) -> Tensor: ...
    @property
    def token_loss(self) -> Tensor: ...
    @property
    def entropy(self) -> Tensor: ...
    @property
    def correct(self) -> Tensor | None: ...


class Split(Protocol):
    """What a model is evaluated on."""

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, all of them, in order, on the CPU."""


class Tally(Protocol):
    """The sums of one evaluation. They stay on the device until `figures` asks for them."""

    def add(self, output: Any, targets: Tensor) -> None:
        """Count a batch: the model's `Output`, and its targets."""

    def figures(self) -> dict[str, dict[str, float | int]]:
        """The metrics, by protocol and name (see `arsbench.metrics`)."""


class Task(Protocol):
    """Data, model, loss and metrics of one task, as a run's configuration has them."""

    @classmethod
    def prepare(cls, config: Config) -> Self:
        """The task with its data read.

        Raises:
            UserError: the configuration does not fit it, or its data cannot be had.
        """

    @classmethod
    def restore(cls, config: Config, run: RunFolder) -> Self:
        """The same with what `store` has put into the run's folder."""

    @property
    def name(self) -> str:
        """As shown beside every figure, label included."""

    @property
    def classes(self) -> int:
        """Among how many a prediction chooses."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch, at least 1."""

    def fingerprint(self) -> dict[str, str]:
        """What a resumed run must find unchanged, as hashes; an evaluation split under its own name."""

    def changed_since(self, fingerprint: Mapping[str, str]) -> list[str]:
        """The names of what is not as it was at `fingerprint`."""

    def store(self, run: RunFolder) -> None:
        """Put into the run's folder whatever `restore` will need, unless it is there."""

    def build_model(self) -> torch.nn.Module:
        """The model, freshly initialised from torch's global generator; its `loss` takes a batch."""

    def training_steps(self, epoch: int, start: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The batches of each optimizer step of an epoch, from step `start` (0-based) of it on.

        Epoch and step decide them alone: a run that is resumed asks for what is left.

        Yields:
            `train.accumulate` pairs of inputs and targets, on the CPU.
        """

    def loss(self, model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> Output:
        """The training loss of a batch."""

    def evaluation_splits(self) -> dict[str, Split]:
        """ "validation" first; "test", where there is one, is evaluated once training is over."""

    def tally(self, split: Split, device: torch.device) -> Tally:
        """Counts an evaluation of `split`."""


def changed_names(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names whose hashes differ from before."""
    return [name for name, value in now.items() if before.get(name) != value]
