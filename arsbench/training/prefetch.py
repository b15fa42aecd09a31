"""Batches on the device before they are needed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]


def prefetched(steps: Iterator[list[Batch]], device: torch.device) -> Iterator[list[Batch]]:
    """The same steps, on `device`.

    A GPU's batches are copied from pinned memory, which the host need not wait for, and a step ahead: they
    are made while the GPU computes earlier steps, and are there when a step asks for them.
    """
    if device.type != "cuda":
        for batches in steps:
            yield [(inputs.to(device), targets.to(device)) for inputs, targets in batches]
        return
    ahead: list[Batch] | None = None
    for batches in steps:
        current = ahead
        ahead = [(_copy(inputs, device), _copy(targets, device)) for inputs, targets in batches]
        if current is not None:
            yield current
    if ahead is not None:
        yield ahead


def _copy(x: Tensor, device: torch.device) -> Tensor:
    return x.pin_memory().to(device, non_blocking=True)
