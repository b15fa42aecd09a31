"""Every optimizer, and a problem of tensors of every number of dimensions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from arsbench.optim import ARS, AdaMuon, AdamW, AdaRMSuon, Muon, RMSuon

# k = 4: a run of six steps has two sync steps and lazy steps after each.
VARIANTS = {
    "ARS-k4": partial(ARS, lr=0.01, k=4),
    "ARS-k1": partial(ARS, lr=0.01, k=1),
    "ARS-k0": partial(ARS, lr=0.01, k=0),
    "ARS-adaptive": partial(ARS, lr=0.01, k=4, adaptive_sync=True),
    "AdaRMSuon": partial(AdaRMSuon, lr=0.01),
    "RMSuon": partial(RMSuon, lr=0.01),
    "AdaMuon": partial(AdaMuon, lr=0.01),
    "Muon": partial(Muon, lr=0.01),
    "AdamW": partial(AdamW, lr=0.01),
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def make(request: pytest.FixtureRequest) -> Callable[..., torch.optim.Optimizer]:
    """An optimizer's constructor, with its arguments given but the parameters."""
    return request.param


class Problem:
    """A loss of tensors of 0 to 4 dimensions, one of them without a gradient, on new data at every step."""

    SHAPES = ((6, 4), (4, 9), (3, 2, 5), (4, 2, 3, 2), (4, 6), (5,), (), (3, 3))

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        draw = torch.Generator().manual_seed(0)
        self.params = [
            torch.nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype))
            for shape in self.SHAPES
        ]
        self.unused = self.params[-1]

    def loss(self, step: int) -> Tensor:
        draw = torch.Generator().manual_seed(1000 + step)
        total = torch.zeros((), dtype=self.params[0].dtype)
        for p in self.params[:-1]:
            target = torch.randn(p.shape, generator=draw, dtype=torch.float64).to(p.dtype)
            total = total + ((p - 0.3 * target).sin() ** 2).sum() + 0.1 * total * p.mean()
        return total

    def closure(self, optimizer: torch.optim.Optimizer, step: int) -> Callable[[], Tensor]:
        def run() -> Tensor:
            optimizer.zero_grad()
            loss = self.loss(step)
            loss.backward()
            return loss

        return run

    def train(self, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
        return [optimizer.step(self.closure(optimizer, step)).item() for step in steps]


@pytest.fixture
def problem() -> type[Problem]:
    """`problem(dtype)` makes the problem, the same one each time."""
    return Problem
