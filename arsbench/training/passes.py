"""One forward-backward pass over a step's batches."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from arsbench.config import Config
from arsbench.tasks import Task
from arsbench.training.prefetch import Batch


def autocast(config: Config, device: torch.device) -> AbstractContextManager[Any]:
    """The context of every forward pass, as `train.precision` says."""
    if config.train.precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def count_targets(batches: list[Batch]) -> int:
    """Targets in all of them."""
    return sum(targets.numel() for _, targets in batches)


def forward_backward(
    model: torch.nn.Module, task: Task, config: Config, batches: list[Batch]
) -> dict[str, Tensor]:
    """Compute the mean loss over the batches and add its gradient to the parameters'.

    Args:
        model: its gradients are clipped as `train.grad_clip` says.
        batches: on one device, the model's.

    Returns:
        on the device: `loss` and `entropy_nats`, means over the batches, and where the task asks, `accuracy`.
    """
    device = batches[0][0].device
    total = torch.zeros((), device=device)
    entropy = torch.zeros((), dtype=torch.float64, device=device)
    accuracy: dict[str, Tensor] = {}
    for inputs, targets in batches:
        with autocast(config, device):
            output = task.loss(model, inputs, targets)
        (output.loss / len(batches)).backward()
        total += output.loss.detach() / len(batches)
        entropy += output.entropy.mean() / len(batches)
        if output.correct is not None:
            share = output.correct.sum(dtype=torch.float64) / count_targets(batches)
            accuracy["accuracy"] = accuracy.get("accuracy", 0.0) + share
    if config.train.grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
    return {"loss": total, "entropy_nats": entropy, **accuracy}
