"""SwiGLU's activation and the projection that follows, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from arsbench.ops.reference.dtypes import compute_dtype


def swiglu_linear(gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    """See `arsbench.ops.swiglu_linear`."""
    return functional.linear(_activation(gate, up), weight.to(gate.dtype))


def swiglu_linear_backward(
    grad: Tensor, gate: Tensor, up: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of gate, up and weight, each in its input's dtype."""
    dtype = compute_dtype(gate.dtype)
    grad_weight = grad.T @ _activation(gate, up)  # (E, I)
    grad_product = (grad @ weight.to(grad.dtype)).to(dtype)  # (M, I)
    g, u = gate.to(dtype), up.to(dtype)
    s = torch.sigmoid(g)
    grad_gate = grad_product * u * s * (1 + g * (1 - s))
    return grad_gate.to(gate.dtype), (grad_product * g * s).to(up.dtype), grad_weight.to(weight.dtype)


def _activation(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate)·up, computed in float32 at least and rounded once."""
    dtype = compute_dtype(gate.dtype)
    return (functional.silu(gate.to(dtype)) * up.to(dtype)).to(gate.dtype)
