"""One optimizer step: its batches on the device, its forward-backward passes, its figures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from arsbench import optim
from arsbench.config import Config
from arsbench.config.hyperparameters import is_third_party
from arsbench.errors import UserError
from arsbench.tasks import Task

Batch = tuple[Tensor, Tensor]
Figures = dict[str, Tensor | float]


@dataclass
class Step:
    """An optimizer step that the host has launched; the device may still be computing it.

    Attributes:
        figures: by the names that the step's record uses; tensors of shape () on the device, or numbers.
        diagnostics: what else the optimizer measured.
    """

    figures: Figures
    diagnostics: Figures


def optimizer_step(
    model: torch.nn.Module, task: Task, config: Config, optimizer: torch.optim.Optimizer, batches: list[Batch]
) -> Step:
    """Take one optimizer step, in as many forward-backward passes as the optimizer asks for.

    The host waits for the device only in A-GSAM's schedule and, possibly, in a third-party step.

    A built-in optimizer reports `grad_norm`, the global 2-norm of the gradient that its update used. For a
    third-party optimizer the norm is measured after each pass, because its step may change or drop the
    gradients; the last pass counts.

    Returns:
        `forward_backward_passes`, `tokens` (targets, padding included), the figures of the first
        `forward_backward`, and `grad_norm`.

    Raises:
        UserError: a third-party optimizer takes a closure and does not call it.
    """
    first: dict[str, Tensor] = {}
    measured: Figures = {}
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
            f"optimizer.name is {config.optimizer.name!r}, whose step() takes a closure and did not call it; "
            f"let step() call the closure, which computes the loss, or take none"
        )
    measured |= optim.measurements(optimizer)
    counts = {"forward_backward_passes": passes, "tokens": _count_targets(batches)}
    return Step(counts | first | {"grad_norm": measured.pop("grad_norm")}, measured)


def forward_backward(
    model: torch.nn.Module, task: Task, config: Config, batches: list[Batch]
) -> dict[str, Tensor]:
    """Compute the mean loss over the batches and add its gradient to the parameters' gradients.

    Args:
        model: its gradients are clipped as `train.grad_clip` says.
        batches: on the model's device.

    Returns:
        tensors of shape () on the device: `loss` and `entropy_nats`, means over the batches;
        where the task counts right predictions, `accuracy`;
        where it pads, `loss_strict`, the mean loss of the real targets of all batches, and `real_targets`,
        their number.
    """
    device = batches[0][0].device
    total = torch.zeros((), device=device)
    entropy = torch.zeros((), dtype=torch.float64, device=device)
    accuracy: dict[str, Tensor] = {}
    nats = torch.zeros((), dtype=torch.float64, device=device)
    real_targets = torch.zeros((), dtype=torch.int64, device=device)
    for inputs, targets in batches:
        with autocast(config, device):
            output = task.loss(model, inputs, targets)
        (output.loss / len(batches)).backward()
        total += output.loss.detach() / len(batches)
        entropy += output.entropy.mean() / len(batches)
        if output.correct is not None:
            share = output.correct.sum(dtype=torch.float64) / _count_targets(batches)
            accuracy["accuracy"] = accuracy.get("accuracy", 0.0) + share
        if task.pad_id is not None:
            real = targets != task.pad_id
            nats += output.token_loss.where(real, 0.0).sum(dtype=torch.float64)
            real_targets += real.sum()
    if config.train.grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip)
    strict = {} if task.pad_id is None else {"loss_strict": nats / real_targets, "real_targets": real_targets}
    return {"loss": total, "entropy_nats": entropy, **accuracy, **strict}


def autocast(config: Config, device: torch.device) -> AbstractContextManager[Any]:
    """The context of every forward pass, by `train.precision`."""
    if config.train.precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def prefetched(steps: Iterator[list[Batch]], device: torch.device) -> Iterator[list[Batch]]:
    """The batches of the same steps, on `device`.

    On a GPU the batches of the next step are copied while the GPU computes the current one: from pinned
    memory, so that the host does not wait for the copy.
    """
    copies = ([(_copy(x, device), _copy(y, device)) for x, y in batches] for batches in steps)
    if device.type != "cuda":
        yield from copies
        return
    ahead = next(copies, None)
    while ahead is not None:
        current, ahead = ahead, next(copies, None)
        yield current


def _copy(x: Tensor, device: torch.device) -> Tensor:
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


def _count_targets(batches: list[Batch]) -> int:
    return sum(targets.numel() for _, targets in batches)
