"""RMSNorm in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from arsbench.ops.reference.dtypes import compute_dtype


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """See `arsbench.ops.rms_norm`."""
    wide, inverse = _inverse_rms(x, eps)
    return (wide * inverse).mul_(weight.to(wide.dtype)).to(x.dtype)


def rms_norm_backward(grad: Tensor, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Gradients of x and weight, each in its input's dtype."""
    wide, inverse = _inverse_rms(x, eps)
    normalized = wide * inverse
    grad = grad.to(wide.dtype)
    grad_weight = (grad * normalized).flatten(0, -2).sum(0) if x.dim() > 1 else grad * normalized
    grad = grad * weight.to(wide.dtype)
    grad -= normalized * (grad * normalized).mean(-1, keepdim=True)
    return grad.mul_(inverse).to(x.dtype), grad_weight.to(weight.dtype)


def _inverse_rms(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x in the compute dtype, and 1/√(mean x² + eps), (..., 1)."""
    x = x.to(compute_dtype(x.dtype))
    return x, (x.square().mean(-1, keepdim=True) + eps).rsqrt_()
