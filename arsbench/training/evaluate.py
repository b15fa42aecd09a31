"""The figures of a model on a split."""

from __future__ import annotations

import torch

from arsbench.config import Config
from arsbench.tasks import Task
from arsbench.training.step import autocast


@torch.no_grad()
def evaluate(
    model: torch.nn.Module, task: Task, config: Config, split: str, device: torch.device
) -> dict[str, dict[str, float | int]]:
    """Evaluate `model` on one split.

    Args:
        model: it is evaluated in eval mode and returned to its previous mode.
        task: its tally sums the figures.
        config: its `train.precision` is that of the forward passes.
        split: the name of one of the task's splits.
        device: the model's device.

    Returns:
        The figures by protocol and name (see `Tally.figures`).
    """
    was_training = model.training
    model.eval()
    data = task.evaluation_splits()[split]
    tally = task.tally(data, device)
    try:
        for inputs, targets in data.batches():
            inputs, targets = inputs.to(device), targets.to(device)
            with autocast(config, device):
                output = model.loss(inputs, targets)
            tally.add(output, targets)
    finally:
        model.train(was_training)
    return tally.figures()
