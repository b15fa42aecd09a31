"""The element-wise parts of the ARS family of optimizers, over lists of n tensors at once.

Every function takes lists of equal length; their i-th tensors belong to parameter i and have its shape. All
tensors are on one device. Parameters and gradients are float32, bfloat16 or float64; moments, flatness
vectors and directions have the `state_dtype` of their parameter. `step` counts the updates of the tensors,
from 1. Scalars per tensor are float64 tensors of shape (n,) on the same device, so that nothing waits for the
device. The results of the compiled kernels do not depend on the number of threads.

Sources: Adam's moments, D. Kingma and J. Ba (2015); decoupled weight decay, I. Loshchilov and F. Hutter
(2019); element-wise adaptive ascent, J. Kwon et al., "ASAM" (2021), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from arsbench.ops._register import register
from arsbench.ops.reference import ars_moments as _reference
from arsbench.ops.reference.ars_moments import check_second_moment
from arsbench.ops.reference.dtypes import compute_dtype as state_dtype

Tensors = Sequence[Tensor]

# Bytes: a cache line, and a multiple of every element's size.
_ALIGNMENT = 64


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
    """The ascent of sharpness-aware minimisation in place: θ ← θ + ρ·n/(‖n‖+1e-12).

    n = g/(√v̂+ε), times |θ| if `adaptive`, with v̂ = v/(1 − β₂^max(1,t−1) + 1e-12), since v is that of the
    previous step. No moment changes. ε is at least 1e-20, so that a first step (v = 0) has a direction.

    Returns:
        copies of the previous parameters for `ars_restore`: `backups` if passed (with the parameters' shapes
        and dtypes), otherwise new tensors.
    """
    if backups is None:
        backups = empty_block(params, lambda dtype: dtype)
    _perturb(params, grads, exp_avg_sqs, backups, rho, beta2, eps, step, adaptive)
    torch.autograd.graph.increment_version(params)
    return backups


def ars_restore(params: Tensors, backups: Tensors) -> None:
    """Restore the parameters bitwise from the result of `ars_perturb`."""
    _restore(params, backups)
    torch.autograd.graph.increment_version(params)


def ars_dots(grads: Tensors, others: Tensors) -> Tensor:
    """Inner products per tensor: rows (‖g‖², ‖f‖², ⟨g,f⟩), a float64 tensor of shape (n, 3)."""
    return _dots(grads, others)


def ars_residual(grads: Tensors, base_grads: Tensors, residuals: Tensors | None = None) -> Tensors:
    """The flatness vectors: the part of each gradient g₂ orthogonal to g₁.

    Returns:
        g₂ − (⟨g₂,g₁⟩/(‖g₁‖²+1e-12))·g₁ per tensor, in `state_dtype`: `residuals` if passed, otherwise new
        tensors.
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

    m ← β₁m + (1−β₁)g' with g' = g + strengths[i]·flats[i], or g without flats; v is updated according to
    `second_moment`; s = m̂/(√v̂+ε) with bias corrections for `step`.

    Args:
        second_moment: the update of v; without flats all three are the same:

            - "plain": v ← β₂v + (1−β₂)g². If v and g are near 0 and f is not, s is about m̂/ε.
            - "bounded": v ← max(β₂v + (1−β₂)g², (1−β₂)g'²), which bounds (1−β₁)|g'| by (1−β₁)/√(1−β₂)·√v.
            - "injected": v ← β₂v + (1−β₂)g'².

    Returns:
        the directions s in `state_dtype`; the energies ‖s‖, float64 (n,); the norms ‖g'‖, float64 (n,).

    Raises:
        ValueError: lists, flats or strengths do not match, `step` is below 1, or `second_moment` is unknown.
    """
    _check_update(grads, flats, strengths, step, second_moment)
    directions = empty_block(grads, state_dtype)
    injection = flats, strengths
    energies, grad_norms = _whiten(
        grads, exp_avgs, exp_avg_sqs, directions, *injection, beta1, beta2, eps, step, second_moment
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
        the norms ‖g'‖ of the gradients used, float64 (n,).

    Raises:
        ValueError: as in `ars_whiten`.
    """
    _check_update(grads, flats, strengths, step, second_moment)
    moments, injection = (exp_avgs, exp_avg_sqs), (flats, strengths)
    grad_norms = _adamw(
        params, grads, *moments, *injection, lr, beta1, beta2, eps, weight_decay, step, second_moment
    )
    torch.autograd.graph.increment_version(params)
    return grad_norms


def ars_apply(
    params: Tensors, directions: Tensors, scales: Tensor, *, lr: float, weight_decay: float
) -> None:
    """Take the step in place: θ ← θ·(1 − lr·wd) − lr·scales[i]·O, for directions O in `state_dtype`."""
    _apply(params, directions, scales, lr, weight_decay)
    torch.autograd.graph.increment_version(params)


def empty_block(like: Sequence[Tensor], dtype_of: Callable[[torch.dtype], torch.dtype]) -> list[Tensor]:
    """Uninitialised contiguous tensors with the shapes and the device of `like`, in one block of memory.

    A large block returns to the system when it is freed. Many small ones between others leave holes: a
    training step of the preset `seed` needs a third more memory with them.

    Args:
        like: tensors on one device.
        dtype_of: the new tensor's dtype from that of the tensor in `like`.
    """
    if not like:
        return []
    dtypes = [dtype_of(x.dtype) for x in like]
    sizes = [x.numel() * dtype.itemsize for x, dtype in zip(like, dtypes, strict=True)]
    places = [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]
    block = torch.empty(sum(places), dtype=torch.uint8, device=like[0].device)
    return [
        part[:size].view(dtype).view(x.shape)
        for part, size, dtype, x in zip(block.split(places), sizes, dtypes, like, strict=True)
    ]


def _check_update(
    grads: Tensors, flats: Tensors, strengths: Tensor | None, step: int, second_moment: str
) -> None:
    check_second_moment(second_moment)
    if step < 1:
        raise ValueError(f"step is {step}; it must be ≥ 1")
    if len(flats) != (0 if strengths is None else len(grads)):
        raise ValueError(
            f"there are {len(grads)} gradients, {len(flats)} flats and "
            f"{'no' if strengths is None else len(strengths)} strengths; pass one of each per gradient"
        )


def _define(name: str, schema: str, fake: Callable = lambda *_: None) -> Callable[..., Any]:
    """Register an op; by default it has no result, and only changes its arguments."""
    return register(name, schema, reference=getattr(_reference, name), fake=fake)


def _per_tensor(tensors: Tensors, shape: tuple[int, ...] = ()) -> Tensor:
    device = tensors[0].device if tensors else None
    return torch.empty((len(tensors), *shape), dtype=torch.float64, device=device)


# An op that changes its arguments must not also return lists of new tensors: functionalization, and with it
# torch.compile, does not support that. The functions above make such lists, and the op fills them.
_perturb = _define(
    "ars_perturb",
    "(Tensor(a!)[] params, Tensor[] grads, Tensor[] exp_avg_sqs, Tensor(b!)[] backups, float rho, "
    "float beta2, float eps, int step, bool adaptive) -> ()",
)
_restore = _define("ars_restore", "(Tensor(a!)[] params, Tensor[] backups) -> ()")
_dots = _define(
    "ars_dots", "(Tensor[] grads, Tensor[] others) -> Tensor", lambda grads, _: _per_tensor(grads, (3,))
)
_residual = _define("ars_residual", "(Tensor[] grads, Tensor[] base_grads, Tensor(a!)[] residuals) -> ()")
_whiten = _define(
    "ars_whiten",
    "(Tensor[] grads, Tensor(a!)[] exp_avgs, Tensor(b!)[] exp_avg_sqs, Tensor(c!)[] directions, "
    "Tensor[] flats, Tensor? strengths, float beta1, float beta2, float eps, int step, str second_moment) "
    "-> (Tensor, Tensor)",
    lambda grads, *_: (_per_tensor(grads), _per_tensor(grads)),
)
_adamw = _define(
    "ars_adamw",
    "(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] exp_avgs, Tensor(c!)[] exp_avg_sqs, Tensor[] flats, "
    "Tensor? strengths, float lr, float beta1, float beta2, float eps, float weight_decay, int step, "
    "str second_moment) -> Tensor",
    lambda params, *_: _per_tensor(params),
)
_apply = _define(
    "ars_apply",
    "(Tensor(a!)[] params, Tensor[] directions, Tensor scales, float lr, float weight_decay) -> ()",
)
