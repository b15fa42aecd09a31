"""The element-wise parts of the ARS family of optimizers, over whole lists of tensors at once.

Every function takes lists of equal length whose i-th members belong to parameter i and have its shape. All
tensors are on one device. Parameters and gradients are float32, bfloat16 or float64; moments, flatness
vectors and directions are in `state_dtype` of their parameter. `step` is the tensors' own step, 1 for their
first. Scalars per tensor are float64 tensors of shape (n,) on the same device, so that nothing waits for
the device. The results of the compiled kernels do not depend on the number of threads.

Sources: Adam's moments, D. Kingma and J. Ba (2015); decoupled weight decay, I. Loshchilov and F. Hutter
(2019); element-wise adaptive ascent, J. Kwon et al., "ASAM" (2021), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from arsbench.ops._block import empty_block
from arsbench.ops._register import register
from arsbench.ops.reference import ars_moments as _reference
from arsbench.ops.reference.ars_moments import SECOND_MOMENTS, check_second_moment, state_dtype

__all__ = [
    "SECOND_MOMENTS",
    "ars_adamw",
    "ars_apply",
    "ars_dots",
    "ars_perturb",
    "ars_residual",
    "ars_restore",
    "ars_whiten",
    "state_dtype",
]

Tensors = Sequence[Tensor]


def ars_perturb(
    params: Tensors,
    grads: Tensors,
    exp_avg_sqs: Tensors,
    *,
    rho: float,
    beta2: float,
    eps: float,
    step: int,
    adaptive: bool,
    backups: Tensors | None = None,
) -> Tensors:
    """The ascent of sharpness-aware minimisation: θ ← θ + ρ·n/(‖n‖+1e-12), in place.

    n = g/(√v̂+ε), times |θ| if `adaptive`; v̂ = v/(1 − β₂^max(1,t−1) + 1e-12) since v is still that of the step
    before. No moment changes. ε below 1e-20 is taken as 1e-20, so that a first step (v = 0) has a direction.

    Returns:
        copies of the parameters as they were, for `ars_restore`: in `backups` where they are given, of the
        parameters' shapes and dtypes, else in new tensors.
    """
    if backups is None:
        backups = empty_block(params, lambda dtype: dtype)
    _perturb(params, grads, exp_avg_sqs, backups, rho, beta2, eps, step, adaptive)
    torch.autograd.graph.increment_version(params)
    return backups


def ars_restore(params: Tensors, backups: Tensors) -> None:
    """Put back the very bits that `ars_perturb` returned."""
    _restore(params, backups)
    torch.autograd.graph.increment_version(params)


def ars_dots(grads: Tensors, others: Tensors) -> Tensor:
    """Inner products per tensor: rows (‖g‖², ‖f‖², ⟨g,f⟩), a float64 tensor of shape (n, 3)."""
    return _dots(grads, others)


def ars_residual(grads: Tensors, base_grads: Tensors, residuals: Tensors | None = None) -> Tensors:
    """The flatness vectors: what is left of each gradient g₂ without its part along g₁.

    Returns:
        g₂ − (⟨g₂,g₁⟩/(‖g₁‖²+1e-12))·g₁ per tensor, in `state_dtype`: in `residuals` where they are given,
        else in new tensors.
    """
    if residuals is None:
        residuals = empty_block(grads, state_dtype)
    _residual(grads, base_grads, residuals)
    return residuals


def ars_whiten(
    grads: Tensors,
    exp_avgs: Tensors,
    exp_avg_sqs: Tensors,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    flats: Tensors = (),
    strengths: Tensor | None = None,
    second_moment: str = "plain",
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Update both moments in place and whiten the first by the second, in one pass over memory.

    g' = g + strengths[i]·flats[i] where flats are given, else g. m ← β₁m + (1−β₁)g'; `second_moment` decides
    how v is updated; s = m̂/(√v̂+ε), where a hat is the bias correction for `step`.

    Args:
        second_moment: the update of v, the same for all three choices without flats:

            - "plain": v ← β₂v + (1−β₂)g². Where v and g are next to nothing and f is not, s is about m̂/ε.
            - "bounded": v ← max(β₂v + (1−β₂)g², (1−β₂)g'²), so that (1−β₁)|g'| is at most
              (1−β₁)/√(1−β₂) times √v.
            - "injected": v ← β₂v + (1−β₂)g'².

    Returns:
        the directions s in `state_dtype`; the energies ‖s‖, float64 (n,); the norms ‖g'‖, float64 (n,).

    Raises:
        ValueError: lists, flats or strengths do not match, `step` is below 1, or `second_moment` is unknown.
    """
    _check_update(grads, flats, strengths, step, second_moment)
    directions = empty_block(grads, state_dtype)
    energies, grad_norms = _whiten(
        grads,
        exp_avgs,
        exp_avg_sqs,
        directions,
        flats,
        strengths,
        beta1,
        beta2,
        eps,
        step,
        second_moment,
    )
    return directions, energies, grad_norms


def ars_adamw(
    params: Tensors,
    grads: Tensors,
    exp_avgs: Tensors,
    exp_avg_sqs: Tensors,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
    flats: Tensors = (),
    strengths: Tensor | None = None,
    second_moment: str = "plain",
) -> Tensor:
    """AdamW in place: moments, s and `second_moment` as in `ars_whiten`, then θ ← θ·(1 − lr·wd) − lr·s.

    Returns:
        the norms ‖g'‖ of the gradients consumed, float64 (n,).

    Raises:
        ValueError: as in `ars_whiten`.
    """
    _check_update(grads, flats, strengths, step, second_moment)
    grad_norms = _adamw(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        flats,
        strengths,
        lr,
        beta1,
        beta2,
        eps,
        weight_decay,
        step,
        second_moment,
    )
    torch.autograd.graph.increment_version(params)
    return grad_norms


def ars_apply(
    params: Tensors, directions: Tensors, scales: Tensor, *, lr: float, weight_decay: float
) -> None:
    """Take the step in place: θ ← θ·(1 − lr·wd) − lr·scales[i]·O, for directions O in `state_dtype`."""
    _apply(params, directions, scales, lr, weight_decay)
    torch.autograd.graph.increment_version(params)


def _check_update(
    grads: Tensors, flats: Tensors, strengths: Tensor | None, step: int, second_moment: str
) -> None:
    check_second_moment(second_moment)
    if step < 1:
        raise ValueError(f"step must be 1 or more, not {step}")
    if len(flats) != (0 if strengths is None else len(grads)):
        raise ValueError(
            f"flats and strengths go together, one of each per gradient: there are {len(grads)} gradients, "
            f"{len(flats)} flats and {'no' if strengths is None else len(strengths)} strengths"
        )


def _fake_nothing(*_: object) -> None:
    return None


def _fake_dots(grads: Tensors, others: Tensors) -> Tensor:
    return _per_tensor(grads, (3,))


def _fake_whiten(grads: Tensors, *_: object) -> tuple[Tensor, Tensor]:
    return _per_tensor(grads), _per_tensor(grads)


def _fake_adamw(params: Tensors, *_: object) -> Tensor:
    return _per_tensor(params)


def _per_tensor(tensors: Tensors, shape: tuple[int, ...] = ()) -> Tensor:
    device = tensors[0].device if tensors else None
    return torch.empty((len(tensors), *shape), dtype=torch.float64, device=device)


# An op that changes its arguments may not return lists of new tensors as well: functionalization, and with it
# torch.compile, refuses that. Such lists are made by the functions above and passed in to be filled.
_perturb = register(
    "ars_perturb",
    "(Tensor(a!)[] params, Tensor[] grads, Tensor[] exp_avg_sqs, Tensor(b!)[] backups, float rho, "
    "float beta2, float eps, int step, bool adaptive) -> ()",
    reference=_reference.ars_perturb,
    fake=_fake_nothing,
)
_restore = register(
    "ars_restore",
    "(Tensor(a!)[] params, Tensor[] backups) -> ()",
    reference=_reference.ars_restore,
    fake=_fake_nothing,
)
_dots = register(
    "ars_dots",
    "(Tensor[] grads, Tensor[] others) -> Tensor",
    reference=_reference.ars_dots,
    fake=_fake_dots,
)
_residual = register(
    "ars_residual",
    "(Tensor[] grads, Tensor[] base_grads, Tensor(a!)[] residuals) -> ()",
    reference=_reference.ars_residual,
    fake=_fake_nothing,
)
_whiten = register(
    "ars_whiten",
    "(Tensor[] grads, Tensor(a!)[] exp_avgs, Tensor(b!)[] exp_avg_sqs, Tensor(c!)[] directions, "
    "Tensor[] flats, Tensor? strengths, float beta1, float beta2, float eps, int step, str second_moment) "
    "-> (Tensor, Tensor)",
    reference=_reference.ars_whiten,
    fake=_fake_whiten,
)
_adamw = register(
    "ars_adamw",
    "(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] exp_avgs, Tensor(c!)[] exp_avg_sqs, Tensor[] flats, "
    "Tensor? strengths, float lr, float beta1, float beta2, float eps, float weight_decay, int step, "
    "str second_moment) -> Tensor",
    reference=_reference.ars_adamw,
    fake=_fake_adamw,
)
_apply = register(
    "ars_apply",
    "(Tensor(a!)[] params, Tensor[] directions, Tensor scales, float lr, float weight_decay) -> ()",
    reference=_reference.ars_apply,
    fake=_fake_nothing,
)
