"""Ten steps in float64 of every optimizer against its formulas, written out one by one.

Nothing here uses the package's own mathematics. Tolerance: ten steps of float64 in another order of
operations differ by about 1e-14; 1e-10 leaves room, and any wrong formula is off by far more than that.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import sqrt

import pytest
import torch
from torch import Tensor

from arsbench.optim import ARS, AdaMuon, AdamW, AdaRMSuon, Muon, RMSuon

STEPS = 10
TOLERANCE = 1e-10
# The matrices' hyperparameters and the AdamW group's differ in every value.
H = {"lr": 0.02, "betas": (0.9, 0.99), "eps": 1e-7, "weight_decay": 0.1, "ns_steps": 5}
A = {"adam_lr": 0.03, "adam_betas": (0.8, 0.95), "adam_eps": 1e-6, "adam_weight_decay": 0.05}


def initial() -> list[Tensor]:
    draw = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((7, 3), (4, 7), (4,))]


def loss(theta: list[Tensor], step: int) -> Tensor:
    """A two-layer network on data of its own for each step."""
    draw = torch.Generator().manual_seed(step)
    x = torch.randn((3, 8), generator=draw, dtype=torch.float64)
    y = torch.randn((4, 8), generator=draw, dtype=torch.float64)
    return ((theta[1] @ torch.tanh(theta[0] @ x) + theta[2][:, None] - y) ** 2).mean()


def gradient(theta: list[Tensor], step: int) -> list[Tensor]:
    leaves = [p.clone().requires_grad_() for p in theta]
    return list(torch.autograd.grad(loss(leaves, step), leaves))


def newton_schulz(x: Tensor, steps: int = 5) -> Tensor:
    if x.shape[0] > x.shape[1]:
        return newton_schulz(x.T, steps).T
    x = x / (x.pow(2).sum().sqrt() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


def decays(i: int) -> tuple[float, float, float, float, float]:
    """lr, β₁, β₂, ε and weight decay of tensor i; the last of the three is in the AdamW group."""
    if i == 2:
        return A["adam_lr"], *A["adam_betas"], A["adam_eps"], A["adam_weight_decay"]
    return H["lr"], *H["betas"], H["eps"], H["weight_decay"]


def adamw_update(i: int, p: Tensor, m: Tensor, v: Tensor, t: int) -> Tensor:
    lr, b1, b2, eps, wd = decays(i)
    return p * (1 - lr * wd) - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps)


def transcribe_simple(name: str) -> list[Tensor]:
    """AdaRMSuon, RMSuon, AdaMuon and Muon."""
    theta = initial()
    m, v = [torch.zeros_like(p) for p in theta], [torch.zeros_like(p) for p in theta]
    mu = 0.9
    for t in range(1, STEPS + 1):
        for i, g in enumerate(gradient(theta, t)):
            p = theta[i]
            lr, b1, b2, eps, wd = decays(i)
            rows, cols = p.shape[0], p.numel() // p.shape[0]
            if i == 2 or name in ("AdaRMSuon", "RMSuon"):
                v[i] = b2 * v[i] + (1 - b2) * g * g
                m[i] = b1 * m[i] + (1 - b1) * g
            else:
                m[i] = mu * m[i] + (1 - mu) * g
                nesterov = (1 - mu) * g + mu * m[i]
            if i == 2:
                theta[i] = adamw_update(i, p, m[i], v[i], t)
                continue
            m_hat, v_hat = m[i] / (1 - b1**t), v[i] / (1 - b2**t)
            if name == "AdaRMSuon":
                s = m_hat / (v_hat.sqrt() + eps)
                update = s.norm() * newton_schulz(s)
            elif name == "RMSuon":
                energy, o = (m_hat / (v_hat.sqrt() + eps)).norm(), newton_schulz(m_hat)
                update = energy * o / o.norm()
            elif name == "Muon":
                update = newton_schulz(nesterov) * sqrt(max(1, rows / cols))
            else:
                o = newton_schulz(torch.sign(nesterov))
                v[i] = b2 * v[i] + (1 - b2) * o * o
                d = o / (v[i].sqrt() + eps)
                update = d * (0.2 * sqrt(rows * cols) / d.norm())
            theta[i] = p * (1 - lr * wd) - lr * update
    return theta


def transcribe_ars(
    k: int,
    rho: float,
    alpha: float,
    adaptive: bool,
    second_moment: str,
    schedule: tuple[float, float, float] | None = None,
) -> tuple[list[Tensor], list[int], dict[str, float], float]:
    """ARS with k ≥ 1; `schedule` is (beta, lambda, gamma) of A-GSAM.

    Returns:
        the parameters, the sync steps, the cosines by position of the cycle, the last gradient's norm.
    """
    theta = initial()
    m, v = [torch.zeros_like(p) for p in theta], [torch.zeros_like(p) for p in theta]
    f: list[Tensor] | None = None
    last_sync, ema, syncs, cos = 0, 0.0, [], {}
    for t in range(1, STEPS + 1):
        g1 = gradient(theta, t)
        strength = alpha
        if schedule is None:
            sync = k == 1 or t % k == 1
        else:
            beta, lam, gamma = schedule
            phi = 0.0
            if f is not None:
                dot = sum((a * b).sum() for a, b in zip(g1, f, strict=True))
                gg, ff = sum((a * a).sum() for a in g1), sum((b * b).sum() for b in f)
                phi = (dot / (gg * ff).sqrt()).item()
            if t - last_sync >= 2:
                ema = beta * ema + (1 - beta) * phi**2
            sync = phi < -lam * sqrt(ema) or t - last_sync >= k or t == 1
            strength = alpha * (1 + max(0.0, phi)) ** gamma
        if sync:
            syncs.append(t)
            perturbed = []
            for i, p in enumerate(theta):
                _, _, b2, eps, _ = decays(i)
                v_old = v[i] / (1 - b2 ** max(1, t - 1) + 1e-12)
                n = g1[i] / (v_old.sqrt() + eps)
                n = n * p.abs() if adaptive else n
                perturbed.append(p + rho * n / (n.norm() + 1e-12))
            plain = gradient(perturbed, t)
            consumed = plain
            f = [b - ((b * a).sum() / ((a * a).sum() + 1e-12)) * a for a, b in zip(g1, plain, strict=True)]
            last_sync = t
        else:
            plain = g1
            consumed = [
                g + strength * (g.norm() / (w.norm() + 1e-12)) * w for g, w in zip(g1, f, strict=True)
            ]
            for suffix, gs in (("_pre", plain), ("", consumed)):
                key = f"cos_pos_{(1 + t - last_sync) % k}{suffix}"
                now = (
                    sum(((g * w).sum() / (g.norm() * w.norm())).item() for g, w in zip(gs, f, strict=True))
                    / 3
                )
                cos[key] = now if key not in cos else 0.9 * cos[key] + 0.1 * now
        for i, p in enumerate(theta):
            lr, b1, b2, eps, wd = decays(i)
            # m sees the injected gradient, v what `second_moment` says.
            second = consumed[i] if second_moment == "injected" else plain[i]
            v[i] = b2 * v[i] + (1 - b2) * second**2
            if second_moment == "bounded" and not sync:
                v[i] = torch.maximum(v[i], (1 - b2) * consumed[i] ** 2)
            m[i] = b1 * m[i] + (1 - b1) * consumed[i]
            if i == 2:
                theta[i] = adamw_update(i, p, m[i], v[i], t)
            else:
                s = (m[i] / (1 - b1**t)) / ((v[i] / (1 - b2**t)).sqrt() + eps)
                theta[i] = p * (1 - lr * wd) - lr * s.norm() * newton_schulz(s)
    norm = sqrt(sum((g * g).sum().item() for g in consumed))
    return theta, syncs, cos, norm


def run(
    make: Callable[[list[Tensor]], torch.optim.Optimizer],
) -> tuple[list[Tensor], torch.optim.Optimizer, list[int]]:
    """Ten steps of an optimizer of ours; also counts the calls of the closure in each."""
    theta = [torch.nn.Parameter(p) for p in initial()]
    optimizer, calls = make(theta), []
    for t in range(1, STEPS + 1):
        calls.append(0)

        def closure(t: int = t) -> Tensor:
            calls[-1] += 1
            optimizer.zero_grad()
            value = loss(theta, t)
            value.backward()
            return value

        expected = loss(theta, t).item()
        assert optimizer.step(closure).item() == expected  # the loss of the first pass
    return [p.detach() for p in theta], optimizer, calls


def assert_same(ours: list[Tensor], truth: list[Tensor]) -> None:
    for a, b in zip(ours, truth, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("optimizer", "extra"),
    [
        (AdaRMSuon, {}),
        (RMSuon, {}),
        (Muon, {"momentum": 0.9}),
        (AdaMuon, {"momentum": 0.9}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_equals_its_formulas(optimizer: type[torch.optim.Optimizer], extra: dict) -> None:
    own = {key: value for key, value in H.items() if optimizer is not Muon or key not in ("betas", "eps")}
    ours, _, _ = run(lambda theta: optimizer(theta, **own, **A, **extra))
    assert_same(ours, transcribe_simple(optimizer.__name__))


def test_adamw_equals_its_formulas() -> None:
    theta = initial()
    m, v = [torch.zeros_like(p) for p in theta], [torch.zeros_like(p) for p in theta]
    for t in range(1, STEPS + 1):
        for i, g in enumerate(gradient(theta, t)):
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.99 * v[i] + 0.01 * g * g
            s = (m[i] / (1 - 0.9**t)) / ((v[i] / (1 - 0.99**t)).sqrt() + 1e-7)
            theta[i] = theta[i] * (1 - 0.02 * 0.1) - 0.02 * s
    ours, _, _ = run(lambda params: AdamW(params, lr=0.02, betas=(0.9, 0.99), eps=1e-7, weight_decay=0.1))
    assert_same(ours, theta)


def test_ars_without_sam_equals_adarmsuon_formulas() -> None:
    ours, _, calls = run(lambda theta: ARS(theta, **H, **A, k=0))
    assert_same(ours, transcribe_simple("AdaRMSuon"))
    assert calls == [1] * STEPS


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("adaptive", [True, False], ids=["asam", "sam"])
@pytest.mark.parametrize("second_moment", ["bounded", "plain", "injected"])
def test_ars_equals_its_formulas(k: int, adaptive: bool, second_moment: str) -> None:
    options = {"rho": 0.2, "alpha": 0.3, "adaptive": adaptive, "second_moment": second_moment}
    ours, optimizer, calls = run(lambda theta: ARS(theta, **H, **A, k=k, **options))
    truth, syncs, cos, norm = transcribe_ars(k, **options)
    assert_same(ours, truth)
    assert [t for t, n in enumerate(calls, 1) if n == 2] == syncs
    measured = optimizer.diagnostics()
    assert {key: measured[key] for key in measured if key.startswith("cos")} == pytest.approx(
        cos, abs=TOLERANCE
    )
    assert measured["grad_norm"] == pytest.approx(norm, rel=TOLERANCE)
    assert measured["sync"] == (STEPS in syncs)


@pytest.mark.parametrize("threshold", [0.0, 0.8, 100.0])
def test_ars_adaptive_schedule_equals_its_formulas(threshold: float) -> None:
    schedule = {"adaptive_beta": 0.7, "adaptive_lambda": threshold, "adaptive_gamma": 1.5}
    ours, optimizer, calls = run(
        lambda theta: ARS(theta, **H, **A, k=4, rho=0.2, alpha=0.3, adaptive_sync=True, **schedule)
    )
    truth, syncs, cos, norm = transcribe_ars(4, 0.2, 0.3, True, "injected", (0.7, threshold, 1.5))
    assert_same(ours, truth)
    assert [t for t, n in enumerate(calls, 1) if n == 2] == syncs
    measured = optimizer.diagnostics()
    assert {key: measured[key] for key in measured if key.startswith("cos")} == pytest.approx(
        cos, abs=TOLERANCE
    )
    assert measured["grad_norm"] == pytest.approx(norm, rel=TOLERANCE)
    assert measured["strength"] == pytest.approx(0.3 * (1 + max(0.0, measured["phi"])) ** 1.5)
    # Each of the reasons occurs: φ (right after a sync at any λ, the average being 0 then), and k.
    gaps = [b - a for a, b in pairwise(syncs)]
    assert min(gaps) < 4
    assert (max(gaps) == 4) == (threshold == 100.0)


def test_energy_is_the_mean_over_matrices() -> None:
    theta = [torch.nn.Parameter(p) for p in initial()]
    optimizer = AdaRMSuon(theta, **H)
    loss(theta, 1).backward()
    optimizer.step()
    # At the first step m̂ = g and v̂ = g².
    energies = [(p.grad / (p.grad.abs() + H["eps"])).norm().item() for p in theta[:2]]
    assert optimizer.diagnostics()["energy"] == pytest.approx(sum(energies) / 2, rel=TOLERANCE)
