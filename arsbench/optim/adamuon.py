"""AdaMuon: Muon's direction, made adaptive per element.

O = NS(sign(Nesterov momentum)),  v ← β₂v + (1−β₂)O²,  D = O/(√v+ε),  Δθ = −lr·0.2·√(rows·cols)·D/‖D‖_F

v has no bias correction: D is rescaled anyhow, to the root mean square of a typical AdamW step. Source: C. Si
et al., "AdaMuon: Adaptive Muon Optimizer" (2025).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.arguments import arguments_of
from arsbench.optim.base import MatrixOptimizer, Parameters
from arsbench.optim.buckets import Bucket, UpdateStatistics
from arsbench.optim.muon import nesterov
from arsbench.optim.orthogonalize import constants, lengths_of, orthogonalize

UPDATE_RMS = 0.2


def adamuon_update(
    params: list[Tensor],
    grads: list[Tensor],
    buffers: list[Tensor],
    exp_avg_sqs: list[Tensor],
    *,
    lr: float,
    momentum: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    ns_steps: int,
) -> UpdateStatistics:
    """Update matrices, their momentum buffers and second moments in place.

    Args:
        params, grads: two or more dimensions each, one dtype and device.
        buffers: their momentum.
        exp_avg_sqs: running mean of the squared orthogonalised direction.
    """
    grad_norms = ops.ars_dots(grads, grads)[:, 0].sqrt()
    directions = orthogonalize(torch._foreach_sign(nesterov(grads, buffers, momentum)), ns_steps)
    torch._foreach_mul_(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, directions, directions, 1 - beta2)
    denominators = torch._foreach_sqrt(exp_avg_sqs)
    torch._foreach_add_(denominators, eps)
    torch._foreach_div_(directions, denominators)
    lengths = lengths_of(directions)
    targets = tuple(UPDATE_RMS * math.sqrt(p.numel()) for p in params)
    scales = constants(targets, lengths.device) / lengths
    ops.ars_apply(params, directions, scales, lr=lr, weight_decay=weight_decay)
    return UpdateStatistics(grad_norms)


class AdaMuon(MatrixOptimizer):
    """AdaMuon for matrices, AdamW for the rest.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, momentum, eps, weight_decay: learning rate, Nesterov momentum, ε and decoupled weight decay of the
            matrices.
        betas: the second is the decay of v; the first has no part in this update (`momentum` has).
        ns_steps: Newton-Schulz iterations.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: learning rate, decays of the two moments, ε and
            decoupled weight decay of the tensors that take AdamW; `adam_lr` None means `lr`.
        maximize: go up the loss instead of down.
    """

    matrix_keys = ("lr", "betas", "eps", "weight_decay", "momentum", "ns_steps")
    matrix_state = ("momentum_buffer", "exp_avg_sq")

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        *,
        adam_lr: float | Tensor | None = None,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
        adam_weight_decay: float = 0.01,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, **arguments_of(locals()))

    def _update_matrices(self, bucket: Bucket) -> UpdateStatistics:
        settings = dict(bucket.settings)
        beta2 = settings.pop("betas")[1]
        buffers, exp_avg_sqs = bucket.entries("momentum_buffer"), bucket.entries("exp_avg_sq")
        return adamuon_update(bucket.params, bucket.grads, buffers, exp_avg_sqs, beta2=beta2, **settings)
