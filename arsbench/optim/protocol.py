"""How to call an optimizer: with or without a closure, and in which mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


def take_step(optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> None:
    """Step an optimizer, with a closure if its `step` accepts one.

    Without a parameter `closure`, the gradients are computed before the step. They are also computed before
    the step of SAM in its authors' form: its `step(closure)` begins with `first_step()`, which perturbs the
    weights along the existing gradients, and calls the closure at the perturbed weights only. Any other
    optimizer may call the closure any number of times.

    Args:
        closure: zeroes the gradients, computes the loss, calls backward and returns the loss.
    """
    accepts = accepts_closure(optimizer)
    if not accepts or hasattr(optimizer, "first_step"):
        closure()
    if accepts:
        optimizer.step(closure)
    else:
        optimizer.step()


def accepts_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `optimizer.step` accepts a closure; otherwise compute the gradients before the step."""
    return "closure" in inspect.signature(optimizer.step).parameters


def mode_switch(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer | None:
    """The optimizer with `train()` and `eval()`: this one, the one that it wraps, or None.

    Schedule-free optimizers have these modes: they evaluate gradients and the model at different weights.
    """
    if all(callable(getattr(optimizer, name, None)) for name in ("train", "eval")):
        return optimizer
    wrapped = (value for value in vars(optimizer).values() if isinstance(value, torch.optim.Optimizer))
    return next(filter(None, map(mode_switch, wrapped)), None)
