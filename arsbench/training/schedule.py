"""The learning rate over the steps of a run."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from arsbench.config.schema import SchedulerConfig


def learning_rate_factor(config: SchedulerConfig, step: int, total_steps: int) -> float:
    """The factor of every group's lr at the 0-based `step`.

    It rises linearly from 1/warmup_steps to 1 during the warm-up; then it stays 1 ("none"), or falls to 0 at
    the end of the run along half a cosine or a straight line.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.name == "none":
        return 1.0
    progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
    progress = min(progress, 1.0)
    return 0.5 * (1 + math.cos(math.pi * progress)) if config.name == "cosine" else 1.0 - progress


def create_scheduler(
    optimizer: Optimizer, config: SchedulerConfig, total_steps: int, steps_taken: int = 0
) -> LambdaLR:
    """torch's scheduler with that factor; call its `step()` after every optimizer step.

    It has no state: `steps_taken`, the steps of a restored optimizer, and `total_steps`, which may have
    grown since, decide it.
    """
    return LambdaLR(
        optimizer, lambda step: learning_rate_factor(config, step, total_steps), last_epoch=steps_taken - 1
    )
