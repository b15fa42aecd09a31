"""Bias corrections by a tensor's own steps, learning rates in tensors, and going uphill."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from arsbench.optim import ARS, AdamW, AdaRMSuon, Muon, RMSuon

Make = Callable[..., torch.optim.Optimizer]


@pytest.mark.parametrize("cls", [ARS, AdaRMSuon, RMSuon, Muon])
def test_a_late_tensor_moves_as_under_torch_adamw(cls: type[torch.optim.Optimizer]) -> None:
    early, late = (torch.nn.Parameter(torch.ones(4)) for _ in range(2))
    twins = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
    ours = cls([early, late], lr=0.1, adam_weight_decay=0.0, **({"k": 0} if cls is ARS else {}))
    theirs = torch.optim.AdamW(twins, lr=0.1, weight_decay=0.0)
    for step in range(50):
        early.grad, twins[0].grad = torch.full((4,), 0.5), torch.full((4,), 0.5)
        if step >= 48:
            late.grad, twins[1].grad = torch.full((4,), 0.1 * step), torch.full((4,), 0.1 * step)
        ours.step()
        theirs.step()
    torch.testing.assert_close(late, twins[1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(early, twins[0], rtol=1e-6, atol=1e-6)
    assert [int(ours.state[p]["step"]) for p in (early, late)] == [50, 2]


def test_a_late_matrix_moves_as_a_new_one() -> None:
    early, late, new = (torch.nn.Parameter(torch.ones(4, 4)) for _ in range(3))
    torch.manual_seed(0)
    grads = torch.randn(3, 4, 4)
    optimizer, fresh = AdaRMSuon([early, late]), AdaRMSuon([new])
    for step in range(20):
        early.grad = torch.ones(4, 4)
        if step >= 17:
            late.grad, new.grad = grads[step - 17], grads[step - 17].clone()
            fresh.step()
        optimizer.step()
    torch.testing.assert_close(late, new, rtol=1e-6, atol=1e-6)


def test_the_schedule_of_ars_counts_the_steps_of_the_optimizer(problem: type) -> None:
    p = problem()
    optimizer = ARS(p.params[:3], k=3)
    p.train(optimizer, range(2))
    optimizer.add_param_group({"params": p.params[3:]})
    assert [group["schedule_step"] for group in optimizer.param_groups] == [2, 2]
    sync = []
    for step in range(2, 8):
        p.train(optimizer, range(step, step + 1))
        sync.append(optimizer.diagnostics()["sync"])
    assert sync == [0, 1, 0, 0, 1, 0]  # steps 3 to 8
    assert [int(optimizer.state[q]["step"]) for q in (p.params[0], p.params[3])] == [8, 6]


def test_a_learning_rate_may_be_a_tensor(make: Make, problem: type) -> None:
    p, q = problem(), problem()
    a, b = make(p.params, lr=0.02), make(q.params, lr=torch.tensor(0.02, dtype=torch.float64))
    assert isinstance(b.param_groups[0]["lr"], torch.Tensor)
    schedulers = [torch.optim.lr_scheduler.LambdaLR(x, lambda step: 1 / (1 + step)) for x in (a, b)]
    for step in range(4):
        losses = p.train(a, range(step, step + 1)), q.train(b, range(step, step + 1))
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        for scheduler in schedulers:
            scheduler.step()
    for x, y in zip(p.params, q.params, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lr", [torch.tensor(-1.0), torch.tensor([0.1, 0.1]), torch.tensor(float("nan"))])
def test_a_bad_tensor_is_no_learning_rate(lr: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"^lr is tensor\(.*; it must be (a number|≥ 0|finite)$"):
        ARS([torch.nn.Parameter(torch.ones(2, 2))], lr=lr)


def test_maximizing_is_minimizing_the_negative(make: Make, problem: type) -> None:
    class Negative(problem):
        def loss(self, step: int) -> torch.Tensor:
            return -super().loss(step)

    p, q = problem(), Negative()
    assert [-x for x in p.train(make(p.params), range(6))] == q.train(make(q.params, maximize=True), range(6))
    for x, y in zip(p.params, q.params, strict=True):
        assert torch.equal(x, y)


def test_an_adamw_that_maximizes_is_torchs() -> None:
    p, q = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    for optimizer, x in ((AdamW([p], maximize=True), p), (torch.optim.AdamW([q], maximize=True), q)):
        x.grad = torch.ones(3)
        optimizer.step()
    torch.testing.assert_close(p, q)
    assert (p > 0.99).all()
