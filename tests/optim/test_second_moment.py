"""What v sees on a lazy step, where an element's second gradient was 0 and its first was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from arsbench.optim import ARS


def largest_move(shape: tuple[int, ...], **options: object) -> float:
    """How far a step moves a weight at most, over a sync step and two lazy ones.

    The gradient of the first element is 0 in the second pass of the sync step and in the lazy step: its v is
    0 there and its f is not.
    """
    p = torch.nn.Parameter(torch.ones(shape))
    optimizer = ARS([p], k=5, weight_decay=0.0, adam_weight_decay=0.0, **options)
    first = torch.zeros(shape).flatten()
    first[0] = 1.0
    elsewhere = (1 - first).view(shape)
    switched_on = iter((1.0, 0.0, 0.0, 0.0))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (p * (elsewhere + next(switched_on) * first.view(shape))).sum()
        loss.backward()
        return loss

    largest = 0.0
    for _ in range(3):
        before = p.detach().clone()
        optimizer.step(closure)
        largest = max(largest, (p.detach() - before).abs().max().item())
    return largest


@pytest.mark.parametrize("shape", [(4, 4), (16,)], ids=["matrix", "adamw"])
@pytest.mark.parametrize("schedule", [{}, {"adaptive_sync": True}], ids=["fixed", "adaptive"])
def test_no_weight_is_thrown_far_off(shape: tuple[int, ...], schedule: dict) -> None:
    assert largest_move(shape, **schedule) < 1e-3
    assert largest_move(shape, second_moment="bounded", **schedule) < 1e-3
    assert largest_move(shape, second_moment="injected", **schedule) < 1e-3


@pytest.mark.parametrize("shape", [(4, 4), (16,)], ids=["matrix", "adamw"])
def test_the_published_formula_does(shape: tuple[int, ...]) -> None:
    assert largest_move(shape, second_moment="plain") > 10


@pytest.mark.parametrize(
    ("adaptive_sync", "second_moment"), [(False, "bounded"), (True, "injected")], ids=["fixed", "adaptive"]
)
def test_the_default_is_that_of_the_schedule(adaptive_sync: bool, second_moment: str) -> None:
    p = torch.nn.Parameter(torch.ones(2, 2))
    assert ARS([p], adaptive_sync=adaptive_sync).param_groups[0]["second_moment"] == second_moment
    (group,) = ARS([p], adaptive_sync=adaptive_sync, second_moment="plain").param_groups
    assert group["second_moment"] == "plain"


def losses(make: Callable[[Sequence[Tensor]], ARS], epochs: int = 8) -> list[float]:
    """Of a ReLU network with dropout on two examples: a weight often has a gradient in one pass only."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(32, 5)]
    model = torch.nn.Sequential(*layers)
    x, y = torch.randn(2, 20), torch.randint(5, (2,))
    optimizer = make(list(model.parameters()))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(epochs)]


def test_a_network_with_dropout_keeps_its_loss() -> None:
    assert max(losses(lambda params: ARS(params, k=5))) < 2.5
    assert max(losses(lambda params: ARS(params, k=5, second_moment="plain"))) > 1000
