"""One pass over a split, counted as the task counts it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from arsbench.tasks import Split, Task


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    task: Task,
    split: Split,
    device: torch.device,
    autocast: AbstractContextManager[Any],
) -> dict[str, dict[str, float | int]]:
    """Evaluate `model` on one split.

    Args:
        model: its mode (train or eval) is left as it was found.
        task: what counts.
        split: one of the task's.
        device: where the model is.
        autocast: the context that a training forward pass runs in.

    Returns:
        The figures of the task's tally, by protocol and name.
    """
    was_training = model.training
    model.eval()
    tally = task.tally(split, device)
    try:
        for inputs, targets in split.batches():
            inputs, targets = inputs.to(device), targets.to(device)
            with autocast:
                output = model.loss(inputs, targets)
            tally.add(output, targets)
    finally:
        model.train(was_training)
    return tally.figures()
