"""Addition modulo p from a part of all pairs ("mod_addition"), the task of grokking.

A row is the tokens x, y and "="; its target is (x + y) mod p. A network first memorises its training pairs
and fails on all others; an optimizer is judged by how soon the network generalises to them.
Source: Power et al., "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets" (2022); the
sizes are those of Nanda et al. (2023).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from arsbench.config import Config
from arsbench.data.loader import shuffled
from arsbench.errors import UserError
from arsbench.models import LossOutput, OneLayerTransformer
from arsbench.runs.folder import RunFolder
from arsbench.tasks.task import Task

ROW_LENGTH = 3
# Larger batches make activations so large that the C library requests fresh memory for each of them.
EVALUATION_ROWS = 1024
# The number of the "epoch" whose order splits the pairs; training starts at 0.
SPLIT_EPOCH = -1


@dataclass(frozen=True)
class Pairs:
    """Pairs and their sums.

    Attributes:
        inputs: int64 (n, 3), the tokens x, y and "=".
        targets: int64 (n,), (x + y) mod p.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets of every pair, in order."""
        return zip(self.inputs.split(EVALUATION_ROWS), self.targets.split(EVALUATION_ROWS), strict=True)


class AccuracyTally:
    """Mean loss and accuracy over all pairs."""

    def __init__(self, device: torch.device) -> None:
        self._nats = torch.zeros((), dtype=torch.float64, device=device)
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._targets = 0

    def add(self, output: LossOutput, targets: Tensor) -> None:
        """Count a batch."""
        self._nats += output.token_loss.sum(dtype=torch.float64)
        self._correct += output.correct.sum()
        self._targets += len(targets)

    def figures(self) -> dict[str, dict[str, float | int]]:
        """The metrics: {"all": {"loss" (nats), "accuracy" (0 to 1), "targets"}}."""
        loss, accuracy = float(self._nats) / self._targets, int(self._correct) / self._targets
        return {"all": {"loss": loss, "accuracy": accuracy, "targets": self._targets}}


class ModAddition(Task):
    """The experiment's seed decides which pairs are trained on. Each epoch visits each of them once, in a new
    order; its last batch may be smaller. No target is padding.

    Args:
        config: the run's configuration.
        run: not used; a run's folder holds nothing of this task.

    Raises:
        UserError: the model's type or sequence length does not fit, or a split is empty.
    """

    def __init__(self, config: Config, run: RunFolder | None = None) -> None:
        self.config = config
        self._require_model("one_layer", "mod_addition")
        if config.model.sequence_length != ROW_LENGTH:
            raise UserError(
                f"model.sequence_length is {config.model.sequence_length}; {config.task} needs {ROW_LENGTH}"
            )
        p = config.data.modulus
        x, y = torch.cartesian_prod(torch.arange(p), torch.arange(p)).unbind(1)
        pairs = Pairs(torch.stack((x, y, torch.full_like(x, p)), dim=1), (x + y) % p)
        order = shuffled(len(pairs), config.experiment.seed, SPLIT_EPOCH)
        count = int(config.data.train_fraction * len(pairs))
        if not 0 < count < len(pairs):
            raise UserError(
                f"data.train_fraction is {config.data.train_fraction}, which leaves none of the {len(pairs)} "
                f"pairs to {'evaluate' if count else 'train'} on; change it or data.modulus"
            )
        self._splits = {
            name: Pairs(pairs.inputs[chosen], pairs.targets[chosen])
            for name, chosen in (("train", order[:count]), ("validation", order[count:]))
        }
        self._batches = -(-len(self._splits["train"]) // config.data.batch_size)
        self._require_steps(self._batches, "an epoch")

    @property
    def classes(self) -> int:
        """p + 1: the numbers below p, and "="."""
        return self.config.data.modulus + 1

    @property
    def steps_per_epoch(self) -> int:
        return self._batches // self.config.train.accumulate

    def fingerprint(self) -> dict[str, str]:
        return {
            name: hashlib.sha256(pairs.inputs.numpy().tobytes()).hexdigest()
            for name, pairs in self._splits.items()
        }

    def build_model(self) -> torch.nn.Module:
        return OneLayerTransformer(self.config.model, self.classes)

    def training_steps(self, epoch: int, start: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """As `Task.training_steps`; inputs are (B, 3) and targets (B,), int64."""
        train, accumulate = self._splits["train"], self.config.train.accumulate
        order = shuffled(len(train), self.config.experiment.seed, epoch)
        batches = order.split(self.config.data.batch_size)
        for step in range(start, self.steps_per_epoch):
            rows = batches[step * accumulate : (step + 1) * accumulate]
            yield [(train.inputs[chosen], train.targets[chosen]) for chosen in rows]

    def evaluation_splits(self) -> dict[str, Pairs]:
        """ "validation": every pair that is not trained on."""
        return {"validation": self._splits["validation"]}

    def tally(self, split: Pairs, device: torch.device) -> AccuracyTally:
        return AccuracyTally(device)
