"""Tensors that are updated together, and the statistics of their update."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from arsbench import ops


@dataclass
class Bucket:
    """Tensors that one call updates: they share group, kind of update, step, device and dtype.

    Attributes:
        step: the tensors' step in progress, from 1.
        settings: hyperparameters of the update, the learning rate as a float.
        grads: the gradients, negated if the group maximizes.
    """

    group: dict[str, Any]
    matrix: bool
    step: int
    settings: dict[str, Any]
    params: list[Tensor] = field(default_factory=list)
    grads: list[Tensor] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)

    def entries(self, name: str) -> list[Tensor]:
        """The state tensors of one name, in the order of `params`."""
        return [state[name] for state in self.states]

    def whiten(self, **injection: Any) -> tuple[list[Tensor], Tensor, Tensor]:
        """Update both moments in place, see `ops.ars_whiten`; `injection` are its other arguments."""
        (beta1, beta2), eps, step = self.settings["betas"], self.settings["eps"], self.step
        moments = self.entries("exp_avg"), self.entries("exp_avg_sq")
        return ops.ars_whiten(self.grads, *moments, beta1=beta1, beta2=beta2, eps=eps, step=step, **injection)

    def apply(self, directions: list[Tensor], scales: Tensor) -> None:
        """Take the step in place, see `ops.ars_apply`; scales are float64 (n,)."""
        lr, weight_decay = self.settings["lr"], self.settings["weight_decay"]
        ops.ars_apply(self.params, directions, scales, lr=lr, weight_decay=weight_decay)


class UpdateStatistics(NamedTuple):
    """Gradient norms and energies of the n tensors of a bucket, float64 (n,)."""

    grad_norms: Tensor
    energies: Tensor | None = None


def join(parts: list[Tensor]) -> Tensor:
    """Concatenate per-tensor results (n,) or (n, 3) of buckets that may be on several devices."""
    return torch.cat([part.to(parts[0].device) for part in parts])
