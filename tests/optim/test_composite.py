"""Two optimizers that step as one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from arsbench.optim import AdamW, gradient_norm, take_step
from arsbench.optim.composite import Composite

LR = 0.01


class WithoutClosure(torch.optim.SGD):
    def step(self) -> None:
        super().step()


class SAM(torch.optim.SGD):
    """Its authors': it perturbs along the gradients that it finds."""

    @torch.no_grad()
    def first_step(self) -> None:
        self.before = [p.clone() for group in self.param_groups for p in group["params"]]
        self.found = [p.grad.clone() for group in self.param_groups for p in group["params"]]
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad)

    def step(self, closure) -> None:
        self.first_step()
        closure()
        with torch.no_grad():
            for p, value in zip(self.param_groups[0]["params"], self.before, strict=True):
                p.copy_(value)
        super().step()


class Problem:
    """A regression whose closure counts its calls."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.x, self.y = torch.randn(8, 3), torch.randn(8, 1)
        self.calls = 0

    def groups(self) -> tuple[dict, dict]:
        parameters = list(self.model.parameters())
        return (
            {"params": [p for p in parameters if p.ndim == 2], "kind": "matrix"},
            {"params": [p for p in parameters if p.ndim == 1], "kind": "adamw"},
        )

    def composite(self, cls: type = torch.optim.SGD, **options) -> Composite:
        matrices, rest = self.groups()
        return Composite(cls([matrices], **({"lr": LR} | options)), AdamW([rest], lr=LR))

    def closure(self, optimizer: torch.optim.Optimizer):
        def closure() -> torch.Tensor:
            self.calls += 1
            optimizer.zero_grad()
            loss = (self.model(self.x) - self.y).square().mean()
            loss.backward()
            return loss

        return closure

    def train(self, optimizer: torch.optim.Optimizer, steps: int, scheduler=None) -> None:
        for _ in range(steps):
            take_step(optimizer, self.closure(optimizer))
            if scheduler:
                scheduler.step()

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.model.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Muon, WithoutClosure])
def test_each_part_steps_as_it_would_alone(cls: type) -> None:
    problem, apart = Problem(), Problem()
    problem.train(problem.composite(cls), 3)
    matrices, rest = apart.groups()
    parts = cls([matrices], lr=LR), AdamW([rest], lr=LR)
    for _ in range(3):
        apart.closure(apart.model)()
        for part in parts:
            part.step()
    assert same(problem.weights(), apart.weights())
    assert problem.calls == 3


def test_an_optimizer_that_calls_the_closure_several_times() -> None:
    """The rest moves once, by the gradients of the last call."""
    problem, apart = Problem(), Problem()
    problem.train(problem.composite(torch.optim.LBFGS, max_iter=5), 1)
    assert problem.calls > 2
    matrices, rest = apart.groups()
    torch.optim.LBFGS(matrices["params"], lr=LR, max_iter=5).step(apart.closure(apart.model))
    AdamW([rest], lr=LR).step()
    assert same(problem.weights(), apart.weights())


def test_sam_finds_the_gradients_of_this_step() -> None:
    problem, apart = Problem(), Problem()
    composite = problem.composite(SAM)
    for _ in range(2):
        before = [p.detach().clone() for p in problem.model.parameters()]
        problem.train(composite, 1)
        with torch.no_grad():
            for p, value in zip(apart.model.parameters(), before, strict=True):
                p.copy_(value)
        apart.closure(apart.model)()
        assert same(composite.matrices.found, [p.grad for p in apart.model.parameters() if p.ndim == 2])
    assert problem.calls == 4


@pytest.mark.parametrize("cls", [torch.optim.Muon, torch.optim.LBFGS])
def test_state_and_schedule_go_on_bitwise(cls: type) -> None:
    def schedule(optimizer: torch.optim.Optimizer, taken: int):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step, taken - 1)

    problem = Problem()
    composite = problem.composite(cls)
    problem.train(composite, 2, schedule(composite, 0))
    assert [group["lr"] for group in composite.param_groups] == [LR / 4, LR / 4]
    assert composite.rest.param_groups[0]["lr"] == LR / 4
    resumed = Problem()
    resumed.model.load_state_dict(problem.model.state_dict())
    again = resumed.composite(cls)
    again.load_state_dict(copy.deepcopy(composite.state_dict()))
    resumed.train(again, 2, schedule(again, 2))
    problem.train(composite, 2, schedule(composite, 2))
    assert same(problem.weights(), resumed.weights())
    assert again.matrices.param_groups[0]["lr"] == again.rest.param_groups[0]["lr"] == LR / 16


def test_gradients_of_all_parameters_are_zeroed_and_measured() -> None:
    problem = Problem()
    composite = problem.composite()
    problem.closure(composite)()
    norm = torch.cat([p.grad.flatten() for p in problem.model.parameters()]).norm()
    torch.testing.assert_close(gradient_norm(composite), norm)
    composite.zero_grad()
    assert all(p.grad is None for p in problem.model.parameters())
