"""Uses of `arsbench.optim` with the types that callers see. Never run: type checkers read it."""

from collections.abc import Callable
from typing import Any, assert_type

import torch
from torch import Tensor, nn

from arsbench.optim import (
    ARS,
    AdaMuon,
    AdamW,
    AdaRMSuon,
    Muon,
    RMSuon,
    accepts_closure,
    describe_groups,
    gradient_norm,
    measurements,
    mode_switch,
    split_parameters,
    take_step,
)


def constructors(model: nn.Module) -> None:
    groups = split_parameters(model)
    assert_type(groups, list[dict[str, Any]])
    assert_type(ARS(groups, lr=1e-4, betas=(0.9, 0.95), k=5, alpha=0.1, second_moment="bounded"), ARS)
    assert_type(ARS(model.parameters(), k=0), ARS)
    assert_type(ARS(model.named_parameters(), lr=torch.tensor(0.1)), ARS)
    assert_type(AdaRMSuon(groups, adam_lr=1e-3), AdaRMSuon)
    assert_type(RMSuon(groups, ns_steps=5), RMSuon)
    assert_type(AdaMuon(groups, momentum=0.9), AdaMuon)
    assert_type(Muon(split_parameters(model, "all"), maximize=False), Muon)
    assert_type(AdamW(model.parameters(), weight_decay=0.1), AdamW)


def steps(optimizer: ARS, closure: Callable[[], Tensor]) -> None:
    as_torch: torch.optim.Optimizer = optimizer
    assert_type(as_torch.param_groups, list[dict[str, Any]])
    assert_type(optimizer.step(closure), Tensor)
    assert_type(optimizer.step(), None)
    assert_type(optimizer.measurements(), dict[str, Tensor | float])
    assert_type(optimizer.diagnostics(), dict[str, float])
    assert_type(optimizer.state_dict(), dict[str, Any])
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad(set_to_none=True)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))


def helpers(optimizer: torch.optim.Optimizer, closure: Callable[[], Tensor]) -> None:
    take_step(optimizer, closure)
    assert_type(accepts_closure(optimizer), bool)
    assert_type(mode_switch(optimizer), torch.optim.Optimizer | None)
    assert_type(gradient_norm(optimizer), Tensor)
    assert_type(measurements(optimizer), dict[str, Tensor | float])
    assert_type(describe_groups(optimizer), list[dict[str, Any]])


def mistakes(model: nn.Module) -> None:
    ARS(model.parameters(), lr="fast")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Muon(model.parameters(), rho=0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
