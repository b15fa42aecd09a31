"""Autocast at the boundary of an op: inputs are cast once, and nothing inside the op is cast."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def is_on(x: Tensor) -> bool:
    """Whether autocast is on for the device of `x`; torch raises for the device "meta", which has none."""
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the autocast dtype of their device if autocast is on, otherwise unchanged.

    As in torch's autocast, float64 tensors are not cast.
    """
    if not is_on(tensors[0]):
        return tensors
    dtype = torch.get_autocast_dtype(tensors[0].device.type)
    return tuple(x if x.dtype == torch.float64 else x.to(dtype) for x in tensors)


def without_autocast(function: Callable) -> Callable:
    """`function` with autocast off on the device of its first argument, a tensor.

    A reference consists of ordinary ops, which an active autocast would cast again: float32 sums would become
    bfloat16.
    """

    @functools.wraps(function)
    def run(tensor: Tensor, *args):
        with torch.autocast(tensor.device.type, enabled=False):
            return function(tensor, *args)

    return run
