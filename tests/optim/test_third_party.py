"""Which parameters third-party optimizers get, and the optimizers that they wrap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from arsbench.config.schema import OptimizerConfig
from arsbench.errors import UserError
from arsbench.optim import AdamW, create_optimizer, describe_groups, mode_switch
from arsbench.optim.composite import Composite

THEIRS = '''
import torch

class Modal(torch.optim.SGD):
    """Counts the switches of its mode."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)
        self.mode = "none"

    def train(self):
        self.mode = "train"

    def eval(self):
        self.mode = "eval"

class SAM(torch.optim.Optimizer):
    """Takes the class of its base and passes **kwargs on."""

    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

class Slow(torch.optim.Optimizer):
    """Takes its base ready made, first."""

    def __init__(self, optimizer, k=5):
        super().__init__(optimizer.param_groups, {"k": k})
        self.optimizer = optimizer

class Beside(torch.optim.Optimizer):
    """Takes its base ready made, beside the parameters."""

    def __init__(self, params, wrapped_optimizer=None, ball=0.1):
        super().__init__(params, {"ball": ball})
        self.wrapped_optimizer = wrapped_optimizer

class Raises(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        raise KeyError("no such\\nthing")

class Nothing(torch.optim.Optimizer):
    def __init__(self):
        pass
'''


@pytest.fixture
def model() -> nn.Module:
    return nn.ModuleDict({"embedding": nn.Embedding(10, 4), "linear": nn.Linear(4, 4)})


@pytest.fixture(autouse=True)
def _their_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_wrappers.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)


def create(model: nn.Module, **given: Any) -> torch.optim.Optimizer:
    known = {key: value for key, value in given.items() if key in OptimizerConfig.__dataclass_fields__}
    return create_optimizer(model, OptimizerConfig(**known), given)


def shapes(group: dict) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in group["params"]]


def test_one_group_has_all_parameters_in_the_models_order(model: nn.Module) -> None:
    model["linear"].bias.requires_grad_(False)
    optimizer = create(model, name="torch.optim:LBFGS", lr=0.5, groups="one")
    (group,) = optimizer.param_groups
    assert shapes(group) == [(10, 4), (4, 4)]
    assert "kind" not in group
    assert (type(optimizer), group["lr"]) == (torch.optim.LBFGS, 0.5)


def test_the_rest_goes_to_adamw(model: nn.Module) -> None:
    optimizer = create(
        model, name="torch.optim:Muon", lr=0.5, momentum=0.5, groups="rest_adamw", adam_betas=[0.5, 0.6]
    )
    assert isinstance(optimizer, Composite)
    matrix, rest = optimizer.param_groups
    assert (shapes(matrix), shapes(rest)) == ([(4, 4)], [(10, 4), (4,)])
    assert (type(optimizer.matrices), matrix["momentum"]) == (torch.optim.Muon, 0.5)
    assert type(optimizer.rest) is AdamW
    # What is not given is the configuration's default, and the learning rate the named optimizer's.
    assert [rest[key] for key in ("lr", "betas", "eps", "weight_decay")] == [0.5, (0.5, 0.6), 1e-8, 0.01]
    assert [(group["name"], group["tensors"]) for group in describe_groups(optimizer)] == [
        ("matrix", 1),
        ("adamw", 2),
    ]


@pytest.mark.parametrize(("given", "lr"), [({}, 1e-3), ({"adam_lr": 0.25}, 0.25), ({"lr": 0.5}, 0.5)])
def test_the_learning_rate_of_the_rest(model: nn.Module, given: dict, lr: float) -> None:
    optimizer = create(model, name="torch.optim:Muon", groups="rest_adamw", **given)
    assert optimizer.param_groups[1]["lr"] == lr


def test_without_a_rest_there_is_no_composite() -> None:
    optimizer = create(nn.Linear(4, 4, bias=False), name="torch.optim:Muon", groups="rest_adamw")
    assert type(optimizer) is torch.optim.Muon


@pytest.mark.parametrize("groups", ["split", "one", "rest_adamw"])
def test_a_wrapper_that_takes_the_class_of_its_base(model: nn.Module, groups: str) -> None:
    given = {"name": "their_wrappers:SAM", "base": "torch.optim:AdamW", "groups": groups}
    optimizer = create(model, **given, rho=0.5, lr=0.25, betas=[0.5, 0.6])
    sam = optimizer.matrices if groups == "rest_adamw" else optimizer
    assert type(sam.base_optimizer) is torch.optim.AdamW
    assert sam.param_groups is sam.base_optimizer.param_groups
    assert len(sam.param_groups) == (2 if groups == "split" else 1)
    assert [sam.param_groups[0][key] for key in ("rho", "lr", "betas")] == [0.5, 0.25, (0.5, 0.6)]


def test_the_second_group_of_a_base(model: nn.Module) -> None:
    optimizer = create(model, name="their_wrappers:SAM", base="torch.optim:AdamW", lr=0.25, adam_lr=0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.125]


def test_a_wrapper_that_takes_its_base_ready_made(model: nn.Module) -> None:
    optimizer = create(model, name="their_wrappers:Slow", base="torch.optim:SGD", k=3, lr=0.25, momentum=0.5)
    assert type(optimizer.optimizer) is torch.optim.SGD
    assert [group["kind"] for group in optimizer.param_groups] == ["matrix", "adamw"]
    assert [optimizer.param_groups[0][key] for key in ("k", "lr", "momentum")] == [3, 0.25, 0.5]


def test_a_base_beside_the_parameters_shares_the_groups(model: nn.Module) -> None:
    """A schedule sets the learning rate in the wrapper's groups."""
    optimizer = create(model, name="their_wrappers:Beside", base="torch.optim:SGD", ball=0.5, groups="one")
    optimizer.param_groups[0]["lr"] = 7.0
    assert optimizer.wrapped_optimizer.param_groups[0]["lr"] == 7.0
    assert optimizer.param_groups[0]["ball"] == 0.5


@pytest.mark.parametrize(
    "given",
    [
        {"name": "their_wrappers:Modal"},
        {"name": "their_wrappers:Modal", "groups": "rest_adamw"},
        {"name": "their_wrappers:SAM", "base": "their_wrappers:Modal", "lr": 0.1},
        {"name": "their_wrappers:Slow", "base": "their_wrappers:Modal"},
    ],
)
def test_modes_are_found_where_they_are_and_training_is_the_first(model: nn.Module, given: dict) -> None:
    optimizer = create(model, **given)
    switch = mode_switch(optimizer)
    assert type(switch).__name__ == "Modal"
    assert switch.mode == "train"


def test_others_have_no_modes(model: nn.Module) -> None:
    assert mode_switch(create(model, name="ARS")) is None
    assert mode_switch(create(model, name="torch.optim:Muon", groups="rest_adamw")) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"name": "torch.optim:Muon", "lr": 0.1},
            "Muon refuses .*ValueError: Muon only supports 2D .*choose its parameters by optimizer.groups",
        ),
        ({"name": "torch.optim:LBFGS"}, "LBFGS refuses .*parameter groups.*optimizer.groups"),
        (
            {"name": "torch.optim:LBFGS", "groups": "one", "adam_lr": 0.1},
            "optimizer.adam_lr is for a second parameter group, and optimizer.groups is 'one'; leave it out",
        ),
        (
            {"name": "torch.optim:Muon", "groups": "rest_adamw", "adam_lr": 0.1, "momentun": 1},
            "Muon does not take optimizer.momentun; did you mean 'momentum'",
        ),
        (
            {"name": "torch.optim:SGD", "base": "torch.optim:SGD"},
            "optimizer.base is 'torch.optim:SGD', and SGD wraps no other .*leave optimizer.base out",
        ),
        ({"name": "their_wrappers:SAM", "lr": 0.1}, "SAM wraps another optimizer; set optimizer.base"),
        (
            {"name": "their_wrappers:SAM", "base": "nowhere:X"},
            "optimizer.base 'nowhere:X' cannot be imp",
        ),
        ({"name": "their_wrappers:SAM", "base": "AdamW"}, "optimizer.base 'AdamW' cannot be imported"),
        ({"name": "their_wrappers:SAM", "base": "torch:Tensor"}, "optimizer.base .* not a torch.optim.Optim"),
        (
            {"name": "their_wrappers:SAM", "base": "torch.optim:SGD", "lr": 0.1, "momentun": 0.9},
            "neither SAM nor SGD takes optimizer.momentun; did you mean 'momentum'",
        ),
        ({"name": "their_wrappers:Raises"}, r"Raises refuses .*\(KeyError: 'no such\\nthing'\)"),
        ({"name": "their_wrappers:Nothing"}, "Nothing refuses its configuration"),
    ],
)
def test_mistakes_are_said_in_a_sentence(model: nn.Module, given: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        create(model, **given)
    assert "\n" not in str(caught.value)


def test_a_model_without_matrices() -> None:
    with pytest.raises(UserError, match="'rest_adamw', and LayerNorm has no matrix for torch"):
        create(nn.LayerNorm(4), name="torch.optim:Muon", groups="rest_adamw")
