"""How a gradient g lies to its flatness vector f, from their inner products alone.

`dots` is what `ops.ars_dots(g, f)` returns: rows (‖g‖², ‖f‖², ⟨g,f⟩), one a tensor, in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from arsbench.optim.base import join

NORM_EPS = 1e-12


def injection_strengths(dots: Tensor, alpha: float) -> Tensor:
    """α·‖g‖/(‖f‖+1e-12) per tensor (n,); 0 where there is no f, whatever the length of g."""
    gg, ff, _ = dots.unbind(1)
    return torch.where(ff > 0, alpha * gg.sqrt() / (ff.sqrt() + NORM_EPS), 0.0)


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


def no_cosines(k: int) -> Tensor:
    """Averages over nothing yet, float64 (k, 2) by position of the cycle, after and before injection.

    They are infinite, which no cosine is; unlike NaN it equals itself when states are compared.
    """
    return torch.full((k if k > 1 else 0, 2), torch.inf, dtype=torch.float64)


def with_averaged(averages: Tensor, position: int, now: Tensor) -> Tensor:
    """`averages` (k, 2) with those at `position` moved by a tenth towards `now` (2,); the first are `now`."""
    averages = averages.to(now.device, copy=True)
    old = averages[position]
    averages[position] = torch.where(old.isinf(), now, 0.9 * old + 0.1 * now)
    return averages


def cosine_names(positions: Iterable[int]) -> Iterator[tuple[str, int, int]]:
    """The names that reports know averaged cosines by, with their row and column in the averages."""
    for position in positions:
        yield f"cos_pos_{position}", position, 0
        yield f"cos_pos_{position}_pre", position, 1


def global_cosine(dots: list[Tensor]) -> float:
    """φ = Σ⟨g,f⟩/√(Σ‖g‖²·Σ‖f‖²) over all tensors; 0 while there is no f. Waits for the device."""
    if not dots:
        return 0.0
    gg, ff, gf = join(dots).sum(0).tolist()
    length = gg**0.5 * ff**0.5
    return gf / length if length else 0.0
