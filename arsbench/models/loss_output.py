"""The result of every model's `loss`."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class LossOutput(NamedTuple):
    """A batch's loss and its parts, in float32 (float64 for a float64 model).

    Attributes:
        loss: (), mean over the targets that count, nats; differentiable.
        token_loss: of the targets' shape, nats, 0 where a target is ignored; not differentiable.
        entropy: of the same shape: of each prediction, ignored or not, nats; not differentiable.
        correct: of the same shape, bool: whether the likeliest token is the target; None if not counted.
    """

    loss: Tensor
    token_loss: Tensor
    entropy: Tensor
    correct: Tensor | None = None
