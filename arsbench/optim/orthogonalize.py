"""Newton-Schulz for lists of tensors of any number of dimensions, and what lengths it gave them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench import ops


def orthogonalize(tensors: Sequence[Tensor], steps: int) -> list[Tensor]:
    """Newton-Schulz of each tensor, taken as a matrix of (first dimension, rest).

    Tensors of one shape are stacked and done in one call: a GPU is filled by few of a model's matrices alone.

    Args:
        tensors: two or more dimensions each, one dtype and device.
        steps: number of iterations.

    Returns:
        the orthogonalised tensors, in order, in their own shapes and dtype.
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
    """2-norms, float64 (n,), to divide by; never 0, so that a direction of zero stays zero."""
    return ops.ars_dots(directions, directions)[:, 0].sqrt().clamp_min(ops.ZERO_NORM_EPS)


@functools.lru_cache(maxsize=64)
def constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers that never change, float64 (n,); kept, since copying them to a device waits for it."""
    return torch.tensor(values, dtype=torch.float64, device=device)
