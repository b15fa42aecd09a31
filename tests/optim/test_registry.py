"""Optimizers by name, built-in and third-party."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from arsbench.config.schema import OptimizerConfig
from arsbench.errors import UserError
from arsbench.optim import ARS, AdaMuon, AdamW, AdaRMSuon, Muon, RMSuon, accepts_closure, create_optimizer

THIRD_PARTY = '''
import torch

class Signed(torch.optim.Optimizer):
    """Sign descent; its step takes no closure."""

    def __init__(self, params, lr, betas=(0.9, 0.99), *, boost=1.0):
        super().__init__(params, {"lr": lr, "betas": betas, "boost": boost})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * group["boost"] * p.grad.sign())

class Anything(Signed):
    def __init__(self, weights, **options):
        super().__init__(weights, options.pop("lr"))
        self.options = options

class WithoutRate(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {})

class NoOptimizer:
    pass
'''


@pytest.fixture
def model() -> nn.Module:
    return nn.ModuleDict({"embedding": nn.Embedding(10, 4), "linear": nn.Linear(4, 4)})


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A third-party module."""
    (tmp_path / "third_party_optimizers.py").write_text(THIRD_PARTY)
    (tmp_path / "broken_optimizers.py").write_text("class Mine(torch.optim.SGD\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "third_party_optimizers"


def create(model: nn.Module, **given: Any) -> torch.optim.Optimizer:
    known = {key: value for key, value in given.items() if key in OptimizerConfig.__dataclass_fields__}
    return create_optimizer(model, OptimizerConfig(**known), given)


@pytest.mark.parametrize("optimizer", [ARS, AdaRMSuon, RMSuon, AdaMuon, Muon])
def test_built_in_by_name(model: nn.Module, optimizer: type) -> None:
    o = create(model, name=optimizer.__name__, lr=0.5, weight_decay=0.25, momentum=0.75, k=3, adam_lr=0.125)
    assert type(o) is optimizer
    matrix, rest = o.param_groups
    assert (matrix["kind"], matrix["lr"], matrix["weight_decay"]) == ("matrix", 0.5, 0.25)
    assert (rest["kind"], rest["lr"], rest["weight_decay"]) == ("adamw", 0.125, 0.01)
    assert [tuple(p.shape) for p in matrix["params"]] == [(4, 4)]
    assert o.defaults.get("momentum", 0.75) == 0.75
    assert o.defaults.get("k", 3) == 3
    assert accepts_closure(o)


def test_adamw_has_one_group_and_one_weight_decay(model: nn.Module) -> None:
    model["linear"].bias.requires_grad_(False)
    o = create(model, name="AdamW", lr=0.5, betas=[0.5, 0.6], weight_decay=0.25, adam_weight_decay=0.9)
    assert type(o) is AdamW
    (group,) = o.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.5, 0.6), 0.25)
    assert len(group["params"]) == 2


def test_torch_sgd(model: nn.Module) -> None:
    o = create(model, name="torch.optim:SGD", lr=0.5, momentum=0.25, adam_lr=0.1, adam_weight_decay=0.2)
    assert type(o) is torch.optim.SGD
    matrix, rest = o.param_groups
    assert [matrix[key] for key in ("kind", "lr", "momentum", "weight_decay")] == ["matrix", 0.5, 0.25, 0]
    assert [rest[key] for key in ("kind", "lr", "momentum", "weight_decay")] == ["adamw", 0.1, 0.25, 0.2]
    assert accepts_closure(o)


def test_an_empty_group_is_left_out() -> None:
    o = create(nn.LayerNorm(4), name="torch.optim:SGD", lr=0.5)
    assert [group["kind"] for group in o.param_groups] == ["adamw"]


def test_a_stranger_without_closure(model: nn.Module, third_party: str) -> None:
    o = create(
        model, name=f"{third_party}:Signed", lr=0.5, betas=[0.1, 0.2], boost=2.0, adam_betas=[0.3, 0.4]
    )
    assert not accepts_closure(o)
    matrix, rest = o.param_groups
    assert (matrix["betas"], rest["betas"], rest["boost"]) == ((0.1, 0.2), (0.3, 0.4), 2.0)
    before = model["linear"].weight.detach().clone()
    model["linear"].weight.grad = torch.ones(4, 4)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    o.step()
    assert torch.equal(model["linear"].weight, before - 1.0)
    torch.optim.lr_scheduler.StepLR(o, 1)  # which wraps `step`
    assert not accepts_closure(o)


def test_a_stranger_that_takes_any_keyword(model: nn.Module, third_party: str) -> None:
    o = create(model, name=f"{third_party}:Anything", lr=0.5, whatever=3)
    assert o.options == {"whatever": 3}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"name": "Muom"},
            "'Muom'; it must be a built-in optimizer or package.module:Class; did you mean 'Muon'",
        ),
        ({"name": "no_such_package.optim:Best"}, "no_such_package.optim:Best.*cannot be imported"),
        ({"name": "torch.optim:NoSuch"}, "NoSuch.*cannot be imported"),
        ({"name": ":SGD"}, "cannot be imported"),
        (
            {"name": "torch.optim:SparseAdam"},
            "SparseAdam' needs sparse gradients, .* name torch.optim:Adam",
        ),
        ({"name": "third_party_optimizers:NoOptimizer"}, "not a torch.optim.Optimizer"),
        (
            {"name": "torch.optim:SGD", "lr": 0.1, "momentun": 0.9},
            "optimizer.momentun; did you mean 'momentum'",
        ),
        (
            {"name": "torch.optim:SGD", "learning_rate": 0.1},
            "does not take optimizer.learning_rate; choose one of lr, momentum",
        ),
        (
            {"name": "broken_optimizers:Mine"},
            r"\(SyntaxError: '\(' was never closed .*; install or correct it",
        ),
        (
            {"name": "torch.optim:SGD", "lr": 0.1, "adam_betas": [0.9, 0.9]},
            "does not take optimizer.adam_betas",
        ),
        ({"name": "torch.optim:SGD", "lr": -0.1}, "torch.optim:SGD refuses its configuration.*-0.1"),
        (
            {"name": "third_party_optimizers:Signed", "lr": "fast"},
            "the learning rate 'fast' in a parameter group; set optimizer.lr to a number",
        ),
        (
            {"name": "third_party_optimizers:WithoutRate"},
            "third_party_optimizers:WithoutRate has the learning rate None",
        ),
        (
            {"name": "third_party_optimizers:Signed"},
            "third_party_optimizers:Signed refuses its configuration.*lr",
        ),
        (
            {"name": "ARS", "k": 1, "adaptive_sync": True},
            "ARS refuses its configuration: k is 1; it must be ≥ 2",
        ),
    ],
)
def test_mistakes_are_said_in_a_sentence(
    model: nn.Module, third_party: str, given: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        create(model, **given)


def test_a_model_without_trainable_parameters(model: nn.Module) -> None:
    with pytest.raises(UserError, match="no trainable parameter"):
        create(model.requires_grad_(False), name="ARS")
