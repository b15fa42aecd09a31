"""AdaMuon: Muon's direction, adaptive per element.

O = NS(sign(Nesterov momentum)),  v ← β₂v + (1−β₂)O²,  D = O/(√v+ε),  Δθ = −lr·0.2·√(rows·cols)·D/‖D‖_F

v needs no bias correction, since D is rescaled to the root mean square of a typical AdamW step. Source: C. Si
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


def adamuon_update(bucket: Bucket) -> UpdateStatistics:
    """Update the matrices of a bucket, their momentum buffers and the second moments of O in place."""
    settings, exp_avg_sqs = bucket.settings, bucket.entries("exp_avg_sq")
    beta2 = settings["betas"][1]
    grad_norms = ops.ars_dots(bucket.grads, bucket.grads)[:, 0].sqrt()
    momentum = nesterov(bucket.grads, bucket.entries("momentum_buffer"), settings["momentum"])
    directions = orthogonalize(torch._foreach_sign(momentum), settings["ns_steps"])
    torch._foreach_mul_(exp_avg_sqs, beta2)
    torch._foreach_addcmul_(exp_avg_sqs, directions, directions, 1 - beta2)
    denominators = torch._foreach_sqrt(exp_avg_sqs)
    torch._foreach_add_(denominators, settings["eps"])
    torch._foreach_div_(directions, denominators)
    lengths = lengths_of(directions)
    targets = tuple(UPDATE_RMS * math.sqrt(p.numel()) for p in bucket.params)
    bucket.apply(directions, constants(targets, lengths.device) / lengths)
    return UpdateStatistics(grad_norms)


class AdaMuon(MatrixOptimizer):
    """AdaMuon for matrices, AdamW for other parameters.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, momentum, eps, weight_decay: learning rate, Nesterov momentum, ε and decoupled weight decay of the
            matrices.
        betas: the second is the decay rate of v; the first is unused, since `momentum` takes its place.
        ns_steps: Newton-Schulz iterations.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: hyperparameters of the parameters that take AdamW;
            `adam_lr` None means `lr`.
        maximize: maximize the loss.
    """

    update_matrices = staticmethod(adamuon_update)
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
