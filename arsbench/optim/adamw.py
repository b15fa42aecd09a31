"""AdamW: PyTorch's class, fused where the device has a fused kernel, with the built-in measurements."""

from __future__ import annotations

from inspect import unwrap
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.arguments import arguments_of, check_arguments
from arsbench.optim.base import Parameters, PlainOptimizer
from arsbench.optim.buckets import join
from arsbench.optim.param_groups import ADAMW_KEYS, MOMENTS
from arsbench.optim.saved_state import check_state

FUSED_DEVICES = ("cpu", "cuda")


class AdamW(PlainOptimizer, torch.optim.AdamW):
    """torch.optim.AdamW with one `weight_decay` for every parameter.

    Args:
        params: parameters, named parameters or groups.
        lr, betas, eps, weight_decay, maximize: as in torch.optim.AdamW.

    Raises:
        ValueError: naming the argument that is out of range.
    """

    if not TYPE_CHECKING:  # torch's decorator of `step` would import the compiler, too
        step = torch.no_grad()(unwrap(torch.optim.AdamW.step))

    def __init__(
        self,
        params: Parameters,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        maximize: bool = False,
    ) -> None:
        arguments = arguments_of(locals())
        check_arguments(arguments)
        super().__init__(params, **arguments | {"betas": tuple(betas)})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["fused"] = all(_can_be_fused(p) for p in group["params"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a `state_dict`.

        Raises:
            ValueError: its groups do not match, or it is not the state of an AdamW.
        """
        check_state(self, state_dict, frozenset(ADAMW_KEYS), lambda group, p: MOMENTS)
        super().load_state_dict(state_dict)

    @torch.no_grad()
    def measurements(self) -> dict[str, Tensor | float]:
        """`grad_norm`: global 2-norm of the gradients, shape (); call it before they are zeroed."""
        alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault((p.device, p.dtype), []).append(p.grad)
        squares = [ops.ars_dots(grads, grads)[:, 0].sum() for grads in alike.values()]
        return {"grad_norm": join([x[None] for x in squares]).sum().sqrt() if squares else 0.0}

    def diagnostics(self) -> dict[str, float]:
        """`measurements` as numbers; waits for the device."""
        return {name: float(value) for name, value in self.measurements().items()}


def _can_be_fused(p: Tensor) -> bool:
    # torch's fused CPU kernel assumes contiguous tensors without a check.
    return p.is_floating_point() and p.device.type in FUSED_DEVICES and p.is_contiguous()
