"""Autocast at the boundary of an op: inputs are cast once on the way in, and nothing is cast inside."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def is_on(x: Tensor) -> bool:
    """Whether autocast is on where `x` is; the device "meta" has none, and torch raises when asked."""
    return x.device.type != "meta" and torch.is_autocast_enabled(x.device.type)


def cast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the autocast dtype of their device where autocast is on, else as they are.

    Like torch's autocast, this leaves float64 alone.
    """
    if not is_on(tensors[0]):
        return tensors
    dtype = torch.get_autocast_dtype(tensors[0].device.type)
    return tuple(x if x.dtype == torch.float64 else x.to(dtype) for x in tensors)


def without_autocast(function: Callable) -> Callable:
    """`function`, whose first argument is a tensor, run with autocast off on that tensor's device.

    A reference is made of ordinary ops, which an active autocast would cast once more: float32 sums would
    become bfloat16.
    """

    @functools.wraps(function)
    def run(tensor: Tensor, *args):
        with torch.autocast(tensor.device.type, enabled=False):
            return function(tensor, *args)

    return run
