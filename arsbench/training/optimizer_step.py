"""One optimizer step: as many forward-backward passes as the optimizer asks for, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from arsbench import optim
from arsbench.config import Config
from arsbench.config.optimizers import is_third_party
from arsbench.errors import UserError
from arsbench.tasks import Task
from arsbench.training.passes import forward_backward
from arsbench.training.prefetch import Batch


@dataclass
class Outcome:
    """What an optimizer step did.

    Attributes:
        passes: forward-backward passes over the step's batches.
        figures: on the device: what `forward_backward` returned first, and `grad_norm`, the global 2-norm of
            the gradient that the update used.
        diagnostics: what else a built-in optimizer measured.
    """

    passes: int
    figures: dict[str, Tensor | float]
    diagnostics: dict[str, Tensor | float]


def optimizer_step(
    model: torch.nn.Module,
    task: Task,
    config: Config,
    optimizer: torch.optim.Optimizer,
    batches: list[Batch],
) -> Outcome:
    """Take a step. Nothing in it waits for the device, but A-GSAM's schedule and perhaps a third-party step.

    A built-in optimizer reports the norm of the gradient that it used. For a third-party one it is measured
    at the end of each pass, since its step may change the gradients or drop them; the last pass's counts.

    Raises:
        UserError: a third-party optimizer takes a closure and does not call it.
    """
    first: dict[str, Tensor] = {}
    measured: dict[str, Tensor | float] = {}
    passes = 0
    third_party = is_third_party({"name": config.optimizer.name})

    def closure() -> Tensor:
        nonlocal passes
        passes += 1
        optimizer.zero_grad(set_to_none=True)
        figures = forward_backward(model, task, config, batches)
        if not first:
            first.update(figures | {"loss": figures["loss"].clone()})
        if third_party:
            measured["grad_norm"] = optim.gradient_norm(optimizer)
        return figures["loss"]

    optim.take_step(optimizer, closure)
    if not passes:
        raise UserError(
            f"optimizer.name is {config.optimizer.name!r}, whose step() takes a closure and did not call it, "
            f"so that there is no loss to record; let step() call the closure, or take none"
        )
    measured |= optim.measurements(optimizer)
    return Outcome(passes, first | {"grad_norm": measured.pop("grad_norm")}, measured)
