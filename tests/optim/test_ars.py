"""What ARS alone promises: two passes, exact restoring, a schedule, and injection."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from arsbench.optim import ARS
from arsbench.optim.flatness import adaptive_schedule


@pytest.mark.parametrize("k", [1, 3])
def test_needs_a_closure(problem: type, k: int) -> None:
    p = problem()
    p.loss(0).backward()
    with pytest.raises(ValueError, match="closure"):
        ARS(p.params, k=k).step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_an_exception_in_the_second_pass_leaves_every_bit(problem: type, dtype: torch.dtype) -> None:
    """Then the step can be taken again, as if nothing had happened."""
    p, undisturbed = problem(dtype), problem(dtype)
    optimizer, other = ARS(p.params, k=4, lr=0.01), ARS(undisturbed.params, k=4, lr=0.01)
    p.train(optimizer, range(4))
    undisturbed.train(other, range(4))
    before = [q.detach().clone() for q in p.params]
    perturbed: list[Tensor] = []

    def closure() -> Tensor:
        loss = p.closure(optimizer, 4)()
        if not all(torch.equal(q, old) for q, old in zip(p.params, before, strict=True)):
            perturbed.extend(q.detach().clone() for q in p.params)
            raise KeyboardInterrupt
        return loss

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert perturbed
    for q, old in zip(p.params, before, strict=True):
        assert torch.equal(q.view(torch.uint8) if q.ndim else q, old.view(torch.uint8) if q.ndim else old)
    assert p.train(optimizer, range(4, 8)) == undisturbed.train(other, range(4, 8))
    for q, r in zip(p.params, undisturbed.params, strict=True):
        assert torch.equal(q, r)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_closures_may_zero_in_place_or_not_at_all(problem: type, set_to_none: bool) -> None:
    expected, p = problem(), problem()
    reference, optimizer = ARS(expected.params, k=2, lr=0.01), ARS(p.params, k=2, lr=0.01)
    expected.train(reference, range(5))
    for step in range(5):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad(set_to_none=set_to_none)
            loss = p.loss(step)
            loss.backward()
            return loss

        optimizer.step(closure)
    for q, r in zip(p.params, expected.params, strict=True):
        assert torch.equal(q, r)


def test_the_perturbation_has_length_rho(problem: type) -> None:
    p = problem(torch.float64)
    optimizer = ARS(p.params, k=1, rho=0.25)
    before = [q.detach().clone() for q in p.params]
    lengths: list[list[float]] = []

    def closure() -> Tensor:
        lengths.append([(q - old).norm().item() for q, old in zip(p.params, before, strict=True)])
        return p.closure(optimizer, 0)()

    optimizer.step(closure)
    first, second = lengths
    assert first == [0.0] * len(p.params)
    assert second[:-1] == pytest.approx([0.25] * (len(p.params) - 1), rel=1e-9)
    assert second[-1] == 0.0  # it had no gradient


def test_groups_have_their_own_radius(problem: type) -> None:
    p = problem(torch.float64)
    optimizer = ARS([{"params": p.params[:2], "rho": 0.5}, {"params": p.params[2:-1], "rho": 0.0}], k=1)
    before = [q.detach().clone() for q in p.params]
    lengths: list[float] = []

    def closure() -> Tensor:
        lengths[:] = [(q - old).norm().item() for q, old in zip(p.params, before, strict=True)]
        return p.closure(optimizer, 0)()

    optimizer.step(closure)
    assert lengths[:2] == pytest.approx([0.5, 0.5])
    assert lengths[2:] == [0.0] * (len(lengths) - 2)


def test_afterwards_the_gradient_is_that_of_the_last_pass(problem: type) -> None:
    p = problem()
    optimizer = ARS(p.params, k=2, lr=0.0, adam_lr=0.0)
    seen: list[list[Tensor]] = []

    def closure() -> Tensor:
        loss = p.closure(optimizer, 0)()
        seen.append([q.grad.clone() for q in p.params[:-1]])
        return loss

    for passes in (2, 3):  # a sync step, then a lazy one
        optimizer.step(closure)
        assert len(seen) == passes
        for q, g in zip(p.params, seen[-1], strict=False):
            assert torch.equal(q.grad, g)


def test_a_gradient_in_one_pass_only_is_skipped() -> None:
    always, first_only, second_only = (torch.nn.Parameter(torch.randn(4, 3)) for _ in range(3))
    start = [p.detach().clone() for p in (always, first_only, second_only)]
    optimizer = ARS([always, first_only, second_only], k=1)
    calls: list[int] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        calls.append(1)
        other = first_only if len(calls) == 1 else second_only
        loss = (always**3).sum() + (other**3).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    moved = [not torch.equal(p, old) for p, old in zip((always, first_only, second_only), start, strict=True)]
    assert moved == [True, False, False]


def test_a_parameter_that_joins_between_syncs_is_not_injected() -> None:
    torch.manual_seed(0)
    early, late = (torch.nn.Parameter(torch.randn(4, 3)) for _ in range(2))
    optimizer = ARS([early, late], k=4)
    for step in range(6):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = (early**3).sum() + ((late**3).sum() if step >= 2 else 0.0)
            loss.backward()
            return loss

        optimizer.step(closure)
        if step >= 2:
            assert bool(optimizer.state[late]["flatness"].any()) == (step >= 4)


def test_position_in_the_cycle_survives_saving(problem: type) -> None:
    p, q = problem(), problem()
    first, second = ARS(p.params, k=5), ARS(q.params, k=5)
    p.train(first, range(3))
    second.load_state_dict(first.state_dict())
    sync = []
    for step in range(3, 8):
        q.train(second, range(step, step + 1))
        sync.append(second.diagnostics()["sync"])
    assert sync == [0, 0, 1, 0, 0]  # steps 4 to 8, counted from 1; 6 mod 5 = 1


@pytest.mark.parametrize("k", [1, 3, 7])
def test_a_state_is_taken_by_an_optimizer_of_another_period(problem: type, k: int) -> None:
    p, q = problem(), problem()
    first, second = ARS(p.params, k=5), ARS(q.params, k=k)
    p.train(first, range(3))
    second.load_state_dict(first.state_dict())
    assert not any(name.startswith("cos") for name in second.diagnostics())  # of the other cycle
    q.train(second, range(3, 12))
    assert all(value.isfinite().all() for value in q.params)


def test_cosines_are_named_by_position(problem: type) -> None:
    p = problem()
    optimizer = ARS(p.params, k=5)
    p.train(optimizer, range(10))
    names = {name for name in optimizer.diagnostics() if name.startswith("cos")}
    assert names == {f"cos_pos_{i}{suffix}" for i in (0, 2, 3, 4) for suffix in ("", "_pre")}


SCHEDULE: dict[str, Any] = {"k": 5, "beta": 0.5, "threshold": 1.0, "gamma": 2.0}


def test_adaptive_schedule_compares_with_the_updated_average() -> None:
    # From an average of 0: 0.5·0.04 = 0.02, root 0.14, and −0.2 is below −0.14.
    assert adaptive_schedule(-0.2, 0.0, 2, **SCHEDULE) == (True, pytest.approx(0.02), 1.0)
    # From 0.0081, root 0.09, −0.1 would be below; from 0.5·(0.0081+0.01), root 0.095, too; with λ = 1.08 only
    # the old average lets it pass: −0.1 < −0.0972, but not < −0.1027.
    stricter = SCHEDULE | {"threshold": 1.08}
    assert adaptive_schedule(-0.1, 0.0081, 2, **stricter) == (False, pytest.approx(0.00905), 1.0)


def test_adaptive_schedule_leaves_the_average_alone_after_a_sync() -> None:
    assert adaptive_schedule(0.5, 0.1, 1, **SCHEDULE) == (False, 0.1, 2.25)


def test_adaptive_schedule_syncs_after_k_steps() -> None:
    assert [adaptive_schedule(0.5, 0.1, n, **SCHEDULE)[0] for n in (1, 2, 4, 5, 6)] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_the_adaptive_schedule_syncs_where_flatness_was_lost(problem: type) -> None:
    p = problem()
    optimizer = ARS(p.params, k=10, adaptive_sync=True, lr=0.01)
    p.train(optimizer, range(1))
    for q in p.params:
        optimizer.state[q].pop("flatness", None)  # as a second pass that raised leaves it
    p.train(optimizer, range(1, 2))
    assert optimizer.diagnostics()["sync"] == 1
    p.train(optimizer, range(2, 3))
    assert optimizer.diagnostics()["sync"] == 0
