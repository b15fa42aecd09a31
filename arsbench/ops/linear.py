"""A linear layer: y = x Wᵀ, under autocast on bfloat16 values of float32 weights.

torch's autocast casts the weight of a linear layer to bfloat16, and its gradient is bfloat16. Here only the
product uses rounded weights, and the weight's gradient is float32. Processors without bfloat16 products
multiply the rounded values in float32, which is several times faster, and do not round the weight's gradient.
On a CPU, float32 layers use the same products: torch's library is slow on some processors.
Shapes: K input features, N output features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.ops._register import autocast, is_autocast, register, register_gradient, without_autocast
from arsbench.ops.reference import linear as reference


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T; in float64, and without autocast on a GPU, this is torch's `linear`.

    Args:
        x: (..., K) with at least two dimensions; under autocast cast to the autocast dtype.
        weight: (N, K), dtype of x or, under autocast, float32.

    Returns:
        (..., N) in x's dtype after the cast.

    Raises:
        RuntimeError: the gradient is itself differentiated, other than torch's.
    """
    if is_autocast(x) and x.dtype != torch.float64:
        (x,) = autocast(x)
    elif x.device.type != "cpu" or x.dtype == torch.float64:
        return torch.nn.functional.linear(x, weight)
    return _op(x, weight)


def _fake(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


_op = register(
    "linear",
    "(Tensor x, Tensor weight) -> Tensor",
    reference=without_autocast(reference.linear),
    fake=_fake,
)
register_gradient(
    "linear",
    "(Tensor grad, Tensor x, Tensor weight) -> (Tensor grad_x, Tensor grad_weight)",
    reference=reference.linear_backward,
)
