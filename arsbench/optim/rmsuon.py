"""RMSuon: the orthogonalised first moment, scaled to the length of Adam's step.

E = ‖m̂/(√v̂+ε)‖_F,  O = NS(m̂),  Δθ = −lr·E·O/‖O‖_F

Source: the ARS project (dmf-archive/ARS), AdaRMSuon's predecessor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.optim.arguments import arguments_of
from arsbench.optim.base import MatrixOptimizer, Parameters
from arsbench.optim.buckets import Bucket, UpdateStatistics
from arsbench.optim.orthogonalize import lengths_of, orthogonalize


def rmsuon_update(bucket: Bucket) -> UpdateStatistics:
    """Update the matrices of a bucket and their moments in place."""
    settings = bucket.settings
    _, energies, grad_norms = bucket.whiten()
    corrected = torch._foreach_div(bucket.entries("exp_avg"), 1 - settings["betas"][0] ** bucket.step)
    directions = orthogonalize(corrected, settings["ns_steps"])
    bucket.apply(directions, energies / lengths_of(directions))
    return UpdateStatistics(grad_norms, energies)


class RMSuon(MatrixOptimizer):
    """RMSuon for matrices, AdamW for other parameters.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, betas, eps, weight_decay: learning rate, decay rates of both moments, ε and decoupled weight decay
            of the matrices.
        ns_steps: Newton-Schulz iterations.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: hyperparameters of the parameters that take AdamW;
            `adam_lr` None means `lr`.
        maximize: maximize the loss.
    """

    update_matrices = staticmethod(rmsuon_update)
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
