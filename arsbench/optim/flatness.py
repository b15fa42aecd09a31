"""How a gradient g lies to its flatness vector f, from their inner products alone.

`dots` is what `ops.ars_dots(g, f)` returns: rows (‖g‖², ‖f‖², ⟨g,f⟩), one a tensor, in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from arsbench.optim.base import join

NORM_EPS = 1e-12


def injection_strengths(dots: Tensor, alpha: float) -> Tensor:
    """α·‖g‖/(‖f‖+1e-12) per tensor (n,)."""
    return alpha * dots[:, 0].sqrt() / (dots[:, 1].sqrt() + NORM_EPS)


def cosines(dots: Tensor) -> Tensor:
    """cos(g, f) per tensor (n,), 0 where one is 0."""
    gg, ff, gf = dots.unbind(1)
    return gf / (gg.sqrt() * ff.sqrt()).clamp_min(torch.finfo(torch.float64).tiny)


def injected_dots(dots: Tensor, strengths: Tensor) -> Tensor:
    """The dots of g + strengths·f with f (n, 3), without another pass over memory."""
    gg, ff, gf = dots.unbind(1)
    c = strengths
    # Rounding may leave a square just below 0 where g and c·f cancel.
    return torch.stack(((gg + 2 * c * gf + c * c * ff).clamp_min(0), ff, gf + c * ff), dim=1)


def global_cosine(dots: list[Tensor]) -> float:
    """φ = Σ⟨g,f⟩/√(Σ‖g‖²·Σ‖f‖²) over all tensors; 0 while there is no f. Waits for the device."""
    if not dots:
        return 0.0
    gg, ff, gf = join(dots).sum(0).tolist()
    length = gg**0.5 * ff**0.5
    return gf / length if length else 0.0
