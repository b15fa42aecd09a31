"""Newton-Schulz orthogonalisation in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NEWTON_SCHULZ_EPS = 1e-7


def newton_schulz(x: Tensor, steps: int, coefficients: Sequence[float]) -> Tensor:
    """See `arsbench.ops.newton_schulz`."""
    a, b, c = coefficients
    tall = x.size(-2) > x.size(-1)
    # The norm in float64 cannot overflow, whatever x holds.
    norm = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True, dtype=torch.float64)
    X = (x / (norm + NEWTON_SCHULZ_EPS).to(x.dtype)).to(iteration_dtype(x.dtype))  # (..., rows, cols)
    X = X.mT if tall else X  # (..., short, long)
    for _ in range(steps):
        A = X @ X.mT  # (..., short, short)
        B = b * A + c * (A @ A)
        X = a * X + B @ X
    X = X.mT if tall else X
    # A copy even where nothing was computed: the op never returns a view of its argument.
    return X.to(x.dtype, copy=True, memory_format=torch.contiguous_format)


def iteration_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 (proofs) iterates in itself, everything else in bfloat16."""
    return torch.float64 if dtype == torch.float64 else torch.bfloat16
