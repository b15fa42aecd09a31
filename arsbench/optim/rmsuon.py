"""RMSuon: the orthogonalised moment at the length of Adam's step.

E = ‖m̂/(√v̂+ε)‖_F,  O = NS(m̂),  Δθ = −lr·E·O/‖O‖_F

Source: the ARS project (dmf-archive/ARS), AdaRMSuon's predecessor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.arguments import arguments_of
from arsbench.optim.base import MatrixOptimizer, Parameters
from arsbench.optim.buckets import Bucket, UpdateStatistics
from arsbench.optim.orthogonalize import lengths_of, orthogonalize


def rmsuon_update(
    params: list[Tensor],
    grads: list[Tensor],
    exp_avgs: list[Tensor],
    exp_avg_sqs: list[Tensor],
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    ns_steps: int,
    step: int,
) -> UpdateStatistics:
    """Update matrices and their moments in place; arguments as in `adarmsuon_update`."""
    _, energies, grad_norms = ops.ars_whiten(
        grads, exp_avgs, exp_avg_sqs, beta1=betas[0], beta2=betas[1], eps=eps, step=step
    )
    directions = orthogonalize(torch._foreach_div(exp_avgs, 1 - betas[0] ** step), ns_steps)
    ops.ars_apply(params, directions, energies / lengths_of(directions), lr=lr, weight_decay=weight_decay)
    return UpdateStatistics(grad_norms, energies)


class RMSuon(MatrixOptimizer):
    """RMSuon for matrices, AdamW for the rest.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, betas, eps, weight_decay: learning rate, decays of the two moments, ε and decoupled weight decay
            of the matrices.
        ns_steps: Newton-Schulz iterations.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: the same of the tensors that take AdamW; `adam_lr`
            None means `lr`.
        maximize: go up the loss instead of down.
    """

    matrix_keys = ("lr", "betas", "eps", "weight_decay", "ns_steps")

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
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

    def _update_matrices(self, bucket: Bucket) -> UpdateStatistics:
        exp_avgs, exp_avg_sqs = bucket.entries("exp_avg"), bucket.entries("exp_avg_sq")
        return rmsuon_update(
            bucket.params, bucket.grads, exp_avgs, exp_avg_sqs, step=bucket.step, **bucket.settings
        )
