"""A gradient g and its flatness vector f: cosines and injection from inner products, and A-GSAM's schedule.

`dots` is the result of `ops.ars_dots(g, f)`: rows (‖g‖², ‖f‖², ⟨g,f⟩), float64 (n, 3), one row per tensor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from arsbench import ops
from arsbench.optim.buckets import Bucket, join


def injection_strengths(dots: Tensor, alpha: float) -> Tensor:
    """α·‖g‖/(‖f‖+1e-12) per tensor (n,); 0 for tensors without f, whatever ‖g‖ is."""
    gg, ff, _ = dots.unbind(1)
    return torch.where(ff > 0, alpha * gg.sqrt() / (ff.sqrt() + ops.ZERO_NORM_EPS), 0.0)


def cosines(dots: Tensor) -> Tensor:
    """cos(g, f) per tensor (n,), 0 if g or f is 0."""
    gg, ff, gf = dots.unbind(1)
    return gf / (gg.sqrt() * ff.sqrt()).clamp_min(torch.finfo(torch.float64).tiny)


def injected_dots(dots: Tensor, strengths: Tensor) -> Tensor:
    """The dots of g + strengths·f with f (n, 3), without another pass over memory."""
    gg, ff, gf = dots.unbind(1)
    c = strengths
    # Rounding can make a square negative where g and c·f cancel.
    return torch.stack(((gg + 2 * c * gf + c * c * ff).clamp_min(0), ff, gf + c * ff), dim=1)


def no_cosines(k: int) -> Tensor:
    """Averaged cosines before the first lazy step, float64 (k, 2): by position of the cycle, after and before
    injection.

    They are infinite, which no cosine is. Unlike NaN, infinity equals itself when states are compared.
    """
    return torch.full((k if k > 1 else 0, 2), torch.inf, dtype=torch.float64)


def with_averaged(averages: Tensor, position: int, now: Tensor) -> Tensor:
    """A copy of `averages` (k, 2) with 0.9·old + 0.1·`now` (2,) at `position`, at first `now`."""
    averages = averages.to(now.device, copy=True)
    old = averages[position]
    averages[position] = torch.where(old.isinf(), now, 0.9 * old + 0.1 * now)
    return averages


def cosine_names(positions: Iterable[int]) -> Iterator[tuple[str, int, int]]:
    """The names of the averaged cosines in reports, with their row and column in the averages."""
    for position in positions:
        yield f"cos_pos_{position}", position, 0
        yield f"cos_pos_{position}_pre", position, 1


def global_cosine(dots: list[Tensor]) -> float:
    """φ = Σ⟨g,f⟩/√(Σ‖g‖²·Σ‖f‖²) over all tensors; 0 without any f. Waits for the device."""
    if not dots:
        return 0.0
    gg, ff, gf = join(dots).sum(0).tolist()
    length = gg**0.5 * ff**0.5
    return gf / length if length else 0.0


def adaptive_schedule(
    phi: float, phi_squared: float, since_sync: int, *, k: int, beta: float, threshold: float, gamma: float
) -> tuple[bool, float, float]:
    """One step of A-GSAM's schedule.

    Args:
        phi: the global cosine φ of this step's gradient with the flatness vectors.
        phi_squared: the EMA of φ² before this step.
        since_sync: steps since the last sync step, from 1.
        k, beta, threshold, gamma: `k`, `adaptive_beta`, `adaptive_lambda` and `adaptive_gamma` of `ARS`.

    Returns:
        whether to sync; the EMA after this step, which gives the threshold of φ; the factor of α.
    """
    # Directly after a sync step φ is largest, which would tighten the threshold without a reason.
    if since_sync >= 2:
        phi_squared = beta * phi_squared + (1 - beta) * phi * phi
    sync = since_sync >= k or phi < -threshold * phi_squared**0.5
    return sync, phi_squared, (1 + max(0.0, phi)) ** gamma


def space_for_backups(bucket: Bucket) -> list[Tensor] | None:
    """The memory of the old flatness vectors, if the parameters fit into it; None drops the vectors.

    The second pass is the peak of a step's memory. This memory holds the parameters during the second pass
    and the new flatness vectors after it, so that a sync step allocates nothing of the parameters' size.
    """
    flats = [state.get("flatness") for state in bucket.states]
    if all(f is not None and f.dtype == p.dtype for f, p in zip(flats, bucket.params, strict=True)):
        return flats
    drop_flatness(bucket.states)
    return None


def drop_flatness(states: Iterable[dict]) -> None:
    """Remove the flatness vectors from the states of parameters."""
    for state in states:
        state.pop("flatness", None)
