"""AdaRMSuon: Adam's whitened moment, orthogonalised and scaled by its norm, the energy E.

s = m̂/(√v̂+ε),  E = ‖s‖_F,  Δθ = −lr·E·NS(s)

NS(s) is not normalised: its norm is about √rank, and the length of the step about lr·E·√rank. Source: the ARS
project (dmf-archive/ARS), where it is the update of ARS without SAM.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from arsbench.optim.arguments import arguments_of
from arsbench.optim.base import MatrixOptimizer, Parameters
from arsbench.optim.buckets import Bucket, UpdateStatistics
from arsbench.optim.orthogonalize import orthogonalize


def adarmsuon_update(bucket: Bucket, **injection: Any) -> UpdateStatistics:
    """Update the matrices of a bucket and their moments in place.

    Args:
        injection: `flats`, `strengths` and `second_moment` of `ops.ars_whiten`.
    """
    directions, energies, grad_norms = bucket.whiten(**injection)
    bucket.apply(orthogonalize(directions, bucket.settings["ns_steps"]), energies)
    return UpdateStatistics(grad_norms, energies)


class AdaRMSuon(MatrixOptimizer):
    """AdaRMSuon for matrices, AdamW for other parameters.

    Args:
        params: parameters, named parameters or groups, see `MatrixOptimizer`.
        lr, betas, eps, weight_decay: learning rate, decay rates of both moments, ε and decoupled weight decay
            of the matrices.
        ns_steps: Newton-Schulz iterations.
        adam_lr, adam_betas, adam_eps, adam_weight_decay: hyperparameters of the parameters that take AdamW;
            `adam_lr` None means `lr`.
        maximize: maximize the loss.
    """

    update_matrices = staticmethod(adarmsuon_update)
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
