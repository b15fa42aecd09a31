"""What is accumulated over an epoch, and the columns that are made of it (ARS.md §5)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from arsbench.environment import peak_resident_bytes


@dataclass
class EpochMetrics:
    """Sums over the optimizer steps of one epoch; plain numbers, so that a checkpoint can hold them."""

    steps: int = 0
    loss: float = 0.0
    entropy: float = 0.0
    grad_norm: float = 0.0
    passes: int = 0
    tokens: int = 0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    lr: float = 0.0
    correct: float | None = None  # None where the task does not ask for accuracy

    def add(
        self,
        *,
        loss: float,
        entropy: float,
        grad_norm: float,
        passes: int,
        tokens: int,
        lr: float,
        seconds: float,
        accuracy: float | None = None,
    ) -> None:
        """Count one optimizer step.

        Args:
            loss: at the first pass, mean per target, nats.
            entropy: of the predictions at the first pass, mean per row of logits, nats.
            grad_norm: global 2-norm of the gradient that the update consumed.
            passes: forward-backward passes over the step's batches.
            tokens: targets in the step's batches.
            lr: the first group's learning rate.
            seconds: how long it took.
            accuracy: share of the targets that the first pass predicted right, where the task asks.
        """
        self.steps += 1
        self.loss += loss
        self.entropy += entropy
        self.grad_norm += grad_norm
        self.passes += passes
        self.tokens += tokens
        self.lr = lr
        self.training_seconds += seconds
        if accuracy is not None:
            self.correct = (self.correct or 0.0) + accuracy * tokens

    def columns(self, classes: int) -> dict[str, Any]:
        """The epoch's record as far as training decides it; a prediction chooses among `classes`."""
        entropy_nats = self.entropy / self.steps
        grad_norm = self.grad_norm / self.steps
        # The seed divides the sum of -p log p by tokens times vocabulary.
        entropy = entropy_nats / classes
        accuracy = {} if self.correct is None else {"train_accuracy": self.correct / self.tokens}
        return {
            "train_loss": self.loss / self.steps,
            "lr": self.lr,
            "pi": predictive_integrity(entropy, grad_norm),
            "effective_gamma": None,
            "entropy": entropy,
            "entropy_nats": entropy_nats,
            "grad_norm": grad_norm,
            "forward_backward_passes": self.passes,
            "tokens_per_second": self.tokens / self.training_seconds,
            **accuracy,
        }

    def times(self) -> dict[str, float]:
        """What the epoch has taken so far, and how much of it was evaluation."""
        return {
            "epoch_seconds": self.training_seconds + self.evaluation_seconds,
            "evaluation_seconds": self.evaluation_seconds,
        }

    def state_dict(self) -> dict[str, float | None]:
        """For `EpochMetrics(**state)`."""
        return asdict(self)


def predictive_integrity(entropy: float, grad_norm: float, alpha: float = 1.0, gamma: float = 1.0) -> float:
    """PI = exp(−(α·Entropy + γ·Grad Norm)), Entropy by the seed's definition (ARS.md §5)."""
    return math.exp(-(alpha * entropy + gamma * grad_norm))


def peak_memory(device: torch.device) -> dict[str, float | None]:
    """Highest memory use in MiB: the process's so far (resident), a GPU's since its figure was last reset."""
    gpu = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return {"peak_rss_mib": peak_resident_bytes() / 2**20, "peak_gpu_mib": gpu}
