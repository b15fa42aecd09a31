"""Newton-Schulz orthogonalisation: pushes every singular value of a matrix towards 1.

X ← X/(‖X‖_F + 1e-7), then `steps` times

    A = X Xᵀ,   B = bA + cA²,   X ← aX + BX

on the matrix or its transpose, whichever has fewer rows. Each step applies the odd polynomial aσ + bσ³ + cσ⁵
to the singular values and keeps the singular vectors. Source: K. Jordan et al., "Muon:
An optimizer for hidden layers in neural networks" (2024).

The CPU kernel computes little more than half of each symmetric product. On processors without bfloat16
products it iterates in float32, which is faster there, and, unless the matrix is square, on A alone:
P = aI + bA + cA², Q ← PQ, A ← P²A, and X ← QX once at the end (Dao-AILab, "Gram Newton-Schulz", 2026). Both
forms are more accurate than iterations in bfloat16.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench.ops._register import register
from arsbench.ops.reference.newton_schulz import newton_schulz as _reference

# Jordan et al. chose them for the steepest slope at 0 (3.4445), which lets small singular values grow
# fastest, among polynomials that map [0, 1] to about [0.7, 1.2]. The values need not converge to 1.
QUINTIC = (3.4445, -4.7750, 2.0315)


def newton_schulz(x: Tensor, steps: int = 5, coefficients: Sequence[float] = QUINTIC) -> Tensor:
    """Replace the singular values of `x` by values near 1.

    Args:
        x: (..., rows, cols) in float32, bfloat16 (both iterated in bfloat16 or better) or float64.
        steps: number of iterations; 0 only normalises.
        coefficients: (a, b, c) of the polynomial.

    Returns:
        a contiguous tensor of x's shape and dtype; no gradient flows through it. NaN or infinity in a matrix
        makes that matrix NaN.

    Raises:
        ValueError: x has fewer than two dimensions or another dtype, steps is negative, or there are not
            three coefficients.
    """
    if x.dim() < 2:
        raise ValueError(
            f"newton_schulz: x has shape {tuple(x.shape)}; it must be a matrix or a batch of matrices"
        )
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float64):
        raise ValueError(f"newton_schulz takes float32, bfloat16 or float64, not {x.dtype}")
    if steps < 0:
        raise ValueError(f"newton_schulz: steps is {steps}; it must be ≥ 0")
    if len(coefficients) != 3:
        raise ValueError(f"newton_schulz takes three coefficients, not {len(coefficients)}")
    return _op(x, steps, coefficients)


def _fake(x: Tensor, steps: int, coefficients: Sequence[float]) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


_op = register(
    "newton_schulz", "(Tensor x, int steps, float[] coefficients) -> Tensor", reference=_reference, fake=_fake
)
