"""The element-wise parts of the ARS family in plain PyTorch, one tensor after another.

`arsbench.ops.ars_moments` describes arguments and results. Arithmetic is in the state's dtype. Norms and
inner products accumulate in float64, which float32 inputs cannot overflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor]

# Added to norms and bias corrections that may be 0 before a division.
ZERO_NORM_EPS = 1e-12
# The smallest ε of the perturbation, below √v of every v > 0 in float32. With ε = 0, elements with v = 0
# dominate the perturbation, instead of 0/0 or ∞/∞.
SMALLEST_EPS = 1e-20
# The gradient in the second moment's update if a flatness vector is injected, see `ars_whiten`.
SECOND_MOMENTS = ("plain", "bounded", "injected")


def check_second_moment(second_moment: str) -> None:
    if second_moment not in SECOND_MOMENTS:
        raise ValueError(f'second_moment is {second_moment!r}; it must be "plain", "bounded" or "injected"')


def ars_perturb(
    params: Tensors,
    grads: Tensors,
    exp_avg_sqs: Tensors,
    backups: Tensors,
    rho: float,
    beta2: float,
    eps: float,
    step: int,
    adaptive: bool,
) -> None:
    eps = max(eps, SMALLEST_EPS)
    correction = 1 - beta2 ** max(1, step - 1) + ZERO_NORM_EPS
    for p, g, v, backup in zip(params, grads, exp_avg_sqs, backups, strict=True):
        backup.copy_(p)
        theta = p.to(v.dtype)
        # ε·n instead of n: n is g/ε at the first step, which may overflow; |ε·n| is at most |g|.
        n = g.to(v.dtype) * (eps / ((v / correction).sqrt() + eps))
        if adaptive:
            n = n * theta.abs()
        p.copy_(theta + n * (rho / (_norm(n) + ZERO_NORM_EPS * eps)))


def ars_restore(params: Tensors, backups: Tensors) -> None:
    for p, backup in zip(params, backups, strict=True):
        p.copy_(backup)


def ars_dots(grads: Tensors, others: Tensors) -> Tensor:
    rows = [torch.stack((_dot(g, g), _dot(f, f), _dot(g, f))) for g, f in zip(grads, others, strict=True)]
    return _stack(rows, (3,))


def ars_residual(grads: Tensors, base_grads: Tensors, residuals: Tensors) -> None:
    for g2, g1, residual in zip(grads, base_grads, residuals, strict=True):
        projection = _dot(g2, g1) / (_dot(g1, g1) + ZERO_NORM_EPS)
        residual.copy_(g2.to(residual.dtype) - projection * g1.to(residual.dtype))


def ars_whiten(
    grads: Tensors,
    exp_avgs: Tensors,
    exp_avg_sqs: Tensors,
    directions: Tensors,
    flats: Tensors,
    strengths: Tensor | None,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    second_moment: str,
) -> tuple[Tensor, Tensor]:
    energies, grad_norms = [], []
    updates = _update_moments(
        grads, exp_avgs, exp_avg_sqs, flats, strengths, beta1, beta2, eps, step, second_moment
    )
    for direction, (s, injected) in zip(directions, updates, strict=True):
        direction.copy_(s)
        energies.append(_norm(s))
        grad_norms.append(_norm(injected))
    return _stack(energies), _stack(grad_norms)


def ars_adamw(
    params: Tensors,
    grads: Tensors,
    exp_avgs: Tensors,
    exp_avg_sqs: Tensors,
    flats: Tensors,
    strengths: Tensor | None,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
    second_moment: str,
) -> Tensor:
    grad_norms = []
    updates = _update_moments(
        grads, exp_avgs, exp_avg_sqs, flats, strengths, beta1, beta2, eps, step, second_moment
    )
    for p, (s, injected) in zip(params, updates, strict=True):
        p.copy_(p.to(s.dtype) * (1 - lr * weight_decay) - lr * s)
        grad_norms.append(_norm(injected))
    return _stack(grad_norms)


def ars_apply(params: Tensors, directions: Tensors, scales: Tensor, lr: float, weight_decay: float) -> None:
    for p, direction, scale in zip(params, directions, scales, strict=True):
        p.copy_(p.to(direction.dtype) * (1 - lr * weight_decay) - (lr * scale) * direction)


def _update_moments(
    grads: Tensors,
    exp_avgs: Tensors,
    exp_avg_sqs: Tensors,
    flats: Tensors,
    strengths: Tensor | None,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
    second_moment: str,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Update both moments in place; per tensor, the whitened moment m̂/(√v̂+ε) and the injected gradient."""
    check_second_moment(second_moment)
    for i, (g, m, v) in enumerate(zip(grads, exp_avgs, exp_avg_sqs, strict=True)):
        plain = g.to(m.dtype)
        injected = plain if strengths is None else plain + strengths[i] * flats[i]
        second = injected if second_moment == "injected" else plain
        v.mul_(beta2).addcmul_(second, second, value=1 - beta2)
        if second_moment == "bounded" and strengths is not None:
            torch.maximum(v, (1 - beta2) * injected * injected, out=v)
        m.mul_(beta1).add_(injected, alpha=1 - beta1)
        yield (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + eps), injected


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dtype=torch.float64)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() * y.double()).sum()


def _stack(rows: list[Tensor], shape: tuple[int, ...] = ()) -> Tensor:
    """Stack the float64 results of n tensors; the result of none is empty."""
    if not rows:
        return torch.zeros((0, *shape), dtype=torch.float64)
    return torch.stack(rows)
