"""How an optimizer wants to be called: with or without a closure, and in which mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch


def take_step(optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> None:
    """Step an optimizer as its `step` asks for.

    One without a parameter `closure` finds the gradients computed. So does SAM as its authors wrote it and
    others took it over: its `step(closure)` begins with `first_step()`, which perturbs the weights along the
    gradients that it finds, and calls the closure only at the perturbed weights. Any other gets the closure,
    and calls it as often as it likes.

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
    """Whether `optimizer.step` takes a closure; one that does not needs the gradients computed before."""
    return "closure" in inspect.signature(optimizer.step).parameters


def mode_switch(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer | None:
    """The optimizer that has `train()` and `eval()`: this one, one that it wraps, or none.

    Schedule-free optimizers have them: they compute gradients at other weights than those that they train.
    """
    if all(callable(getattr(optimizer, name, None)) for name in ("train", "eval")):
        return optimizer
    wrapped = (value for value in vars(optimizer).values() if isinstance(value, torch.optim.Optimizer))
    return next(filter(None, map(mode_switch, wrapped)), None)
