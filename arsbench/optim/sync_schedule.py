"""When ARS runs the loss twice: its fixed schedule, and A-GSAM's."""

from __future__ import annotations


def is_sync_step(step: int, k: int) -> bool:
    """Whether `step` (from 1) is a sync step of the fixed schedule of period k ≥ 1."""
    return k == 1 or step % k == 1


def adaptive_schedule(
    phi: float, phi_squared: float, since_sync: int, *, k: int, beta: float, threshold: float, gamma: float
) -> tuple[bool, float, float]:
    """One step of A-GSAM's schedule.

    Args:
        phi: the global cosine of this step's gradient with the flatness vectors.
        phi_squared: the EMA of its square before this step.
        since_sync: steps since the last sync step, from 1.
        k, beta, threshold, gamma: `k`, `adaptive_beta`, `adaptive_lambda` and `adaptive_gamma` of `ARS`.

    Returns:
        whether to sync; the EMA after this step, with which φ is compared; the factor of α.
    """
    # Right after a sync f is fresh and φ at its best: that would tighten the threshold for no reason.
    if since_sync >= 2:
        phi_squared = beta * phi_squared + (1 - beta) * phi * phi
    sync = since_sync >= k or phi < -threshold * phi_squared**0.5
    return sync, phi_squared, (1 + max(0.0, phi)) ** gamma
