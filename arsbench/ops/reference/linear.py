"""A linear layer without bias in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """See `arsbench.ops.linear`."""
    return torch.nn.functional.linear(x, weight.to(x.dtype))


def linear_backward(grad: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x, in its dtype, and of weight, in its own."""
    rows, grads = x.flatten(0, -2), grad.flatten(0, -2)
    return grad @ weight.to(x.dtype), (grads.T @ rows).to(weight.dtype)
