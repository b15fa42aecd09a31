"""The weights of a model whose optimizer evaluates at other weights than it trains at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from arsbench.optim import mode_switch


@contextlib.contextmanager
def evaluation_weights(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[dict[str, Tensor] | None]:
    """Let the model have the weights that the optimizer wants evaluated and saved.

    An optimizer that has `train()` and `eval()`, such as a schedule-free one, is in evaluation mode inside
    the block. After it, it is in training mode, and the model has exactly the weights from before: `train()`
    alone may round them, and a run would depend on when it was evaluated or interrupted. A checkpoint
    therefore holds both: what is written inside the block (the model and the optimizer's state, each in
    evaluation mode), and the training weights for `restore_training`.

    Args:
        model: its weights are changed in place.
        optimizer: in training mode.

    Yields:
        copies of the training weights by name, or None where the model already has the right weights.
    """
    switch = mode_switch(optimizer)
    if switch is None:
        yield None
        return
    training = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        switch.eval()
        yield training
    finally:
        restore_training(model, optimizer, training)


@torch.no_grad()
def restore_training(
    model: nn.Module, optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]
) -> None:
    """Put an optimizer into training mode, and the weights that `evaluation_weights` yielded into the model.

    Args:
        model: its weights are changed in place.
        optimizer: one that has `train()` and `eval()`, in either mode.
        weights: all of the model's, by name.
    """
    mode_switch(optimizer).train()
    for name, p in model.named_parameters():
        p.copy_(weights[name])
