"""Two optimizers that step as one: any for the matrices of a model, another for its other parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from arsbench.optim.protocol import take_step


class Composite(torch.optim.Optimizer):
    """Steps an optimizer of the matrices, then one of the other parameters.

    Its parameter groups are those of both, matrices first, so that a learning-rate schedule changes both.
    `state` is empty, and `state_dict` has the states of both.

    Args:
        matrices: any optimizer.
        rest: an optimizer of other parameters whose `step` needs no closure.
    """

    def __init__(self, matrices: torch.optim.Optimizer, rest: torch.optim.Optimizer) -> None:
        groups = [*matrices.param_groups, *rest.param_groups]
        super().__init__([p for group in groups for p in group["params"]], {})
        self.matrices = matrices
        self.rest = rest
        self._share_groups()

    def step(self, closure: Callable[[], Any]) -> None:
        """Update all parameters.

        `rest` steps once, with the gradients of the closure's last call. If the optimizer of the matrices
        calls the closure several times (LBFGS, SAM), these are gradients at its last trial of the matrices,
        and at the other parameters before the step. The closure is that of `take_step`.
        """
        take_step(self.matrices, closure)
        self.rest.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters."""
        self.matrices.zero_grad(set_to_none=set_to_none)
        self.rest.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The states of both optimizers, under the keys "matrices" and "rest"."""
        return {"matrices": self.matrices.state_dict(), "rest": self.rest.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a `state_dict` of a composite of the same two classes."""
        self.matrices.load_state_dict(state_dict["matrices"])
        self.rest.load_state_dict(state_dict["rest"])
        self._share_groups()

    def _share_groups(self) -> None:
        # The same dicts, whose `lr` a schedule sets; loading a state replaces them.
        self.param_groups = [*self.matrices.param_groups, *self.rest.param_groups]
