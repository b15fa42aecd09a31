"""RMSNorm: y = x/√(mean x² + ε) ⊙ w over the last dimension.

Source: B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization" (2019), eq. 4, with Qwen3's ε.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.ops import _autocast
from arsbench.ops._register import register
from arsbench.ops.reference import rms_norm as reference
from arsbench.ops.reference.dtypes import compute_dtype


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """Normalise the rows of x; computed in float32 at least. Autocast casts nothing.

    Args:
        x: (..., E) in bfloat16, float32 or float64.
        weight: (E,), dtype of x, or float32 beside bfloat16.
        eps: added to the mean square.

    Returns:
        a contiguous tensor of x's shape and dtype.

    Raises:
        ValueError: shapes or dtypes do not fit together.
        RuntimeError: the gradient is itself differentiated.
    """
    if x.dim() == 0 or weight.shape != x.shape[-1:]:
        raise ValueError(
            f"rms_norm takes x (..., E) and weight (E,), not {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    if x.dtype not in (torch.bfloat16, torch.float32, torch.float64) or weight.dtype not in (
        x.dtype,
        compute_dtype(x.dtype),
    ):
        raise ValueError(
            f"rms_norm takes bfloat16, float32 or float64 with a weight of the same or of float32, not "
            f"{x.dtype} and {weight.dtype}"
        )
    return _op(x, weight, eps)


def _fake(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape)


def _fake_backward(grad: Tensor, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


_op = register(
    "rms_norm",
    "(Tensor x, Tensor weight, float eps) -> Tensor",
    reference=_autocast.without_autocast(reference.rms_norm),
    fake=_fake,
)
_backward_op = register(
    "rms_norm_backward",
    "(Tensor grad, Tensor x, Tensor weight, float eps) -> (Tensor grad_x, Tensor grad_weight)",
    reference=_autocast.without_autocast(reference.rms_norm_backward),
    fake=_fake_backward,
)


def _setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad: Tensor):
    return *_backward_op(grad, *ctx.saved_tensors, ctx.eps), None


def _refuse(ctx, *_grads):
    raise RuntimeError("rms_norm has no second derivative; its gradient cannot be differentiated")


torch.library.register_autograd("arsbench::rms_norm", _backward, setup_context=_setup_context)
torch.library.register_autograd("arsbench::rms_norm_backward", _refuse)
