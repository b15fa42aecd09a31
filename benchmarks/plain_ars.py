"""ARS in plain PyTorch: the peer of the training-step benchmark.

Written from the formulas, tensor by tensor, with a fixed period k and per-tensor functions that torch.compile
accepts. Uses nothing from arsbench.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

BETAS, EPS, RHO, ALPHA = (0.9, 0.999), 1e-8, 0.1, 0.1
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(x: Tensor, steps: int = 5, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Newton-Schulz (Jordan et al., Muon, 2024), in bfloat16 as in the authors' code."""
    a, b, c = COEFFICIENTS
    tall = x.size(0) > x.size(1)
    y = x.to(dtype).T if tall else x.to(dtype)
    y = y / (y.norm() + 1e-7)
    for _ in range(steps):
        gram = y @ y.T
        y = a * y + (b * gram + c * gram @ gram) @ y
    return (y.T if tall else y).to(x.dtype)


def whiten(g: Tensor, m: Tensor, v: Tensor, correction1: Tensor, correction2: Tensor) -> Tensor:
    """Update the first moment with g and return the bias-corrected m / (sqrt v + eps)."""
    m.lerp_(g, 1 - BETAS[0])
    return (m / correction1) / ((v / correction2).sqrt() + EPS)


def matrix_update(
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    c1: Tensor,
    c2: Tensor,
    lr: float,
    wd: float,
    ns_dtype: torch.dtype = torch.bfloat16,
) -> None:
    """AdaRMSuon; Newton-Schulz iterates in `ns_dtype`."""
    s = whiten(g, m, v, c1, c2)
    p.mul_(1 - lr * wd).sub_(lr * s.norm() * orthogonalise(s, dtype=ns_dtype))


def adamw_update(
    p: Tensor, g: Tensor, m: Tensor, v: Tensor, c1: Tensor, c2: Tensor, lr: float, wd: float
) -> None:
    """AdamW."""
    p.mul_(1 - lr * wd).sub_(lr * whiten(g, m, v, c1, c2))


def perturbation(p: Tensor, g: Tensor, v: Tensor, correction: Tensor) -> Tensor:
    """The adaptive SAM step's e."""
    n = g / ((v / correction).sqrt() + EPS) * p.abs()
    return RHO * n / (n.norm() + 1e-12)


def residual(g2: Tensor, g1: Tensor) -> Tensor:
    """The component of g2 orthogonal to g1."""
    return g2 - ((g2 * g1).sum() / (g1.square().sum() + 1e-12)) * g1


def inject(g: Tensor, f: Tensor) -> Tensor:
    """The gradient of a lazy step."""
    return g + ALPHA * (g.norm() / (f.norm() + 1e-12)) * f


class PlainARS:
    """ARS with period `k` on two lists of parameters.

    Args:
        matrices: updated by the orthogonalised update.
        others: updated by AdamW.
        lr: the learning rate of all parameters.
        weight_decay: of the matrices; the others' is 0.01.
        k: every k-th step is a sync step.
        compiled: compile every per-tensor function with torch.compile.
        ns_dtype: the dtype that Newton-Schulz iterates in.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        k: int,
        compiled: bool,
        ns_dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        wrap: Callable = (
            torch.compile(fullgraph=True, dynamic=False) if compiled else lambda function: function
        )
        self.perturbation, self.residual, self.inject = wrap(perturbation), wrap(residual), wrap(inject)
        matrix, adamw = wrap(partial(matrix_update, ns_dtype=ns_dtype)), wrap(adamw_update)
        self.lr, self.k, self.t = lr, k, 0
        self.entries = [(p, matrix, weight_decay) for p in matrices] + [(p, adamw, 0.01) for p in others]
        self.m, self.v, self.f = ({p: torch.zeros_like(p) for p, _, _ in self.entries} for _ in range(3))

    def step(self, closure: Callable[[], Tensor]) -> None:
        """One step; two passes through `closure` when t mod k = 1."""
        self.t += 1
        closure()
        with torch.no_grad():
            if self.t % self.k == 1:
                self._sync(closure)
            else:
                for p, _, _ in self.entries:
                    self.v[p].lerp_(p.grad.square(), 1 - BETAS[1])
                    p.grad = self.inject(p.grad, self.f[p])
            c1, c2 = (torch.tensor(1 - beta**self.t) for beta in BETAS)
            for p, update, weight_decay in self.entries:
                update(p, p.grad, self.m[p], self.v[p], c1, c2, self.lr, weight_decay)

    def _sync(self, closure: Callable[[], Tensor]) -> None:
        correction = torch.tensor(1 - BETAS[1] ** max(1, self.t - 1) + 1e-12)
        kept, first = {}, {}
        for p, _, _ in self.entries:
            kept[p], first[p] = p.clone(), p.grad
            p.add_(self.perturbation(p, p.grad, self.v[p], correction))
            p.grad = None
        with torch.enable_grad():
            closure()
        for p, _, _ in self.entries:
            p.copy_(kept[p])
            self.v[p].lerp_(p.grad.square(), 1 - BETAS[1])
            self.f[p] = self.residual(p.grad, first[p])
