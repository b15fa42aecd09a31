"""An optimizer to start from: momentum whose rows have equal length.

Train with it, or compare it with others, in the folder of this file:

    arsbench train demo --set optimizer.name=your_optimizer:RowMomentum --set optimizer.lr=0.001
    arsbench suite run your_optimizer.toml
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class RowMomentum(torch.optim.Optimizer):
    """Momentum, scaled to elements of about 1: by rows for matrices, by signs for the rest.

    ARS-Bench needs nothing beyond a `torch.optim.Optimizer`:

    - The keys of the section `optimizer` are the constructor's keyword arguments.
    - There are two parameter groups: "kind" is "matrix" for the hidden matrices and "adamw" for embeddings,
      head, norms and biases. `optimizer.adam_lr` is the second group's `lr`.
    - `step` may call the closure as often as it likes. The report counts the forward-backward passes.
    - Checkpoints hold what is in `self.state` and in the groups: tensors, numbers and strings.

    Args:
        params: parameters or parameter groups.
        lr: size of a step, about the change of an element.
        momentum: decay of the moving average of gradients.
        weight_decay: decoupled weight decay.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient; the closure computes loss and gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                average = state["momentum"].lerp_(p.grad, 1 - group["momentum"])  # p's shape
                if group.get("kind") == "matrix":
                    rows = average.flatten(1)  # (out, in)
                    update = (rows / (rows.square().mean(1, keepdim=True).sqrt() + 1e-12)).view_as(p)
                else:
                    update = average.sign()
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
        return loss
