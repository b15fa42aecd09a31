"""Newton-Schulz for lists of tensors of two or more dimensions, and the lengths of the results."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench import ops


def orthogonalize(tensors: Sequence[Tensor], steps: int) -> list[Tensor]:
    """Newton-Schulz of each tensor, flattened to a matrix of (first dimension, rest).

    Tensors of the same shape are stacked into one call, because a single matrix of a model rarely fills a
    GPU.

    Args:
        tensors: two or more dimensions each, one dtype and device.
        steps: number of iterations.

    Returns:
        the orthogonalised tensors in the same order, shapes and dtype.
    """
    positions: dict[torch.Size, list[int]] = {}
    for i, tensor in enumerate(tensors):
        positions.setdefault(tensor.shape, []).append(i)
    results: dict[int, Tensor] = {}
    for shape, chosen in positions.items():
        batch = torch.stack([tensors[i].flatten(1) for i in chosen])  # (matrices, rows, cols)
        for i, result in zip(chosen, ops.newton_schulz(batch, steps), strict=True):
            results[i] = result.view(shape)
    return [results[i] for i in range(len(tensors))]


def lengths_of(directions: Sequence[Tensor]) -> Tensor:
    """2-norms to divide by, float64 (n,), at least 1e-12: a direction of 0 stays 0."""
    return ops.ars_dots(directions, directions)[:, 0].sqrt().clamp_min(ops.ZERO_NORM_EPS)


@functools.lru_cache(maxsize=64)
def constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A cached tensor of numbers, float64 (n,), since a copy to a device waits for the device."""
    return torch.tensor(values, dtype=torch.float64, device=device)
