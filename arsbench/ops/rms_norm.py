"""RMSNorm: y = x/√(mean x² + ε) ⊙ w over the last dimension.

Source: B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization" (2019), eq. 4, with Qwen3's ε.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.ops._register import register, register_gradient, without_autocast
from arsbench.ops.reference import rms_norm as reference
from arsbench.ops.reference.dtypes import compute_dtype

# Of Qwen3, in every RMSNorm.
RMS_NORM_EPS = 1e-6


def rms_norm(x: Tensor, weight: Tensor, eps: float = RMS_NORM_EPS) -> Tensor:
    """Normalise the rows of x, in float32 or float64; autocast does not change the dtypes.

    Args:
        x: (..., E) in bfloat16, float32 or float64.
        weight: (E,), in the dtype of x or, for bfloat16, in float32.
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


_op = register(
    "rms_norm",
    "(Tensor x, Tensor weight, float eps) -> Tensor",
    reference=without_autocast(reference.rms_norm),
    fake=_fake,
)
register_gradient(
    "rms_norm",
    "(Tensor grad, Tensor x, Tensor weight, float eps) -> (Tensor grad_x, Tensor grad_weight)",
    reference=reference.rms_norm_backward,
)
