"""Muon: orthogonalised Nesterov momentum.

B ← μB + (1−μ)g,  O = NS((1−μ)g + μB),  Δθ = −lr·√max(1, rows/cols)·O

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with its factor
for tall matrices; torch.optim.Muon calls that factor `adjust_lr_fn="original"`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.arguments import arguments_of
from arsbench.optim.base import MatrixOptimizer, Parameters
from arsbench.optim.buckets import Bucket, UpdateStatistics
from arsbench.optim.orthogonalize import constants, orthogonalize


def nesterov(grads: list[Tensor], buffers: list[Tensor], momentum: float) -> list[Tensor]:
    """Update the momentum buffers in place, and return the Nesterov momentum in their dtype."""
    grads = [grad.to(buffer.dtype) for grad, buffer in zip(grads, buffers, strict=True)]
    torch._foreach_lerp_(buffers, grads, 1 - momentum)
    return torch._foreach_lerp(grads, buffers, momentum)


def muon_update(bucket: Bucket) -> UpdateStatistics:
    """Update the matrices of a bucket and their momentum buffers in place."""
    grad_norms = ops.ars_dots(bucket.grads, bucket.grads)[:, 0].sqrt()
    momentum = nesterov(bucket.grads, bucket.entries("momentum_buffer"), bucket.settings["momentum"])
    # rows/cols = rows²/numel for a tensor flattened to (first, rest)
    factors = tuple(math.sqrt(max(1.0, p.shape[0] ** 2 / p.numel())) for p in bucket.params)
    directions = orthogonalize(momentum, bucket.settings["ns_steps"])
    bucket.apply(directions, constants(factors, bucket.params[0].device))
    return UpdateStatistics(grad_norms)


class Muon(MatrixOptimizer):
    """Muon for matrices, AdamW for other parameters.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, momentum, weight_decay: learning rate, Nesterov momentum and decoupled weight decay of the
            matrices.
        ns_steps: Newton-Schulz iterations.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: hyperparameters of the parameters that take AdamW;
            `adam_lr` None means `lr`.
        maximize: maximize the loss.
    """

    update_matrices = staticmethod(muon_update)
    matrix_keys = ("lr", "momentum", "weight_decay", "ns_steps")
    matrix_state = ("momentum_buffer",)

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        ns_steps: int = 5,
        *,
        adam_lr: float | Tensor | None = None,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
        adam_weight_decay: float = 0.01,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, **arguments_of(locals()))
