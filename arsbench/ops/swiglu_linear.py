"""The second half of a SwiGLU layer in one op: y = (silu(gate) ⊙ up) Wᵀ, silu(x) = x/(1 + e⁻ˣ).

The backward pass computes the activation again instead of keeping it: it has the size of gate, and costs one
pass over gate and up. Shapes: M tokens, I intermediate size, E embedding size. Source: N.
Shazeer, "GLU Variants Improve Transformer" (2020), section 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.ops._register import autocast, register, register_gradient, without_autocast
from arsbench.ops.reference import swiglu_linear as reference
from arsbench.ops.reference.dtypes import compute_dtype


def swiglu_linear(gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    """The projection of silu(gate) ⊙ up.

    The activation is computed in float32 or float64 and rounded once, to gate's dtype. Under autocast gate
    and up are cast to the autocast dtype, and so is the weight in the product; its gradient has the weight's
    dtype.

    Args:
        gate: (M, I) in bfloat16, float32 or float64.
        up: (M, I), dtype of gate.
        weight: (E, I), in the dtype of gate or, for bfloat16, in float32.

    Returns:
        (M, E) in gate's dtype after the cast.

    Raises:
        ValueError: shapes or dtypes do not fit together.
        RuntimeError: the gradient is itself differentiated.
    """
    gate, up = autocast(gate, up)
    if gate.dim() != 2 or gate.shape != up.shape or weight.dim() != 2 or weight.shape[1] != gate.shape[1]:
        raise ValueError(
            f"swiglu_linear takes gate and up (M, I) and weight (E, I), not {tuple(gate.shape)}, "
            f"{tuple(up.shape)} and {tuple(weight.shape)}"
        )
    if (
        gate.dtype not in (torch.bfloat16, torch.float32, torch.float64)
        or up.dtype != gate.dtype
        or weight.dtype not in (gate.dtype, compute_dtype(gate.dtype))
    ):
        raise ValueError(
            f"swiglu_linear takes gate and up of one dtype, bfloat16, float32 or float64, and a weight of "
            f"the same or of float32, not {gate.dtype}, {up.dtype} and {weight.dtype}"
        )
    return _op(gate, up, weight)


def _fake(gate: Tensor, up: Tensor, weight: Tensor) -> Tensor:
    return gate.new_empty(gate.shape[0], weight.shape[0])


_op = register(
    "swiglu_linear",
    "(Tensor gate, Tensor up, Tensor weight) -> Tensor",
    reference=without_autocast(reference.swiglu_linear),
    fake=_fake,
)
register_gradient(
    "swiglu_linear",
    "(Tensor grad, Tensor gate, Tensor up, Tensor weight)"
    " -> (Tensor grad_gate, Tensor grad_up, Tensor grad_weight)",
    reference=reference.swiglu_linear_backward,
)
