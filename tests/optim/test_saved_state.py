"""States of version 0.1.0 are loaded, and go on bitwise as there."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch

from arsbench.optim import ARS, AdaMuon, AdamW, AdaRMSuon, Muon, RMSuon

# As version 0.1.0 computed: it had no other second moment.
VARIANTS = {
    "ARS-k4": partial(ARS, lr=0.01, k=4, second_moment="plain"),
    "ARS-k1": partial(ARS, lr=0.01, k=1, second_moment="plain"),
    "ARS-k0": partial(ARS, lr=0.01, k=0, second_moment="plain"),
    "ARS-adaptive": partial(ARS, lr=0.01, k=4, adaptive_sync=True),
    "AdaRMSuon": partial(AdaRMSuon, lr=0.01),
    "RMSuon": partial(RMSuon, lr=0.01),
    "AdaMuon": partial(AdaMuon, lr=0.01),
    "Muon": partial(Muon, lr=0.01),
}
RENAMED = {"adam_lr": "lr", "adam_betas": "betas", "adam_eps": "eps", "adam_weight_decay": "weight_decay"}


def as_version_0_1_0(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimizer of one list of parameters in that version's layout."""
    state_dict = deepcopy(optimizer.state_dict())
    (group,) = state_dict["param_groups"]
    matrices = [p.ndim >= 2 for p in optimizer.param_groups[0]["params"]]
    state = state_dict["state"]
    steps = int(next(iter(state.values()))["step"])
    # Matrices came first, and were numbered in that order.
    order = sorted(range(len(matrices)), key=lambda i: not matrices[i])
    new_state = {order.index(i): entries for i, entries in state.items()}
    for entries in new_state.values():
        del entries["step"]
    new_state["global"] = {"step": steps, "diagnostics": optimizer.measurements()}
    if isinstance(optimizer, ARS):
        new_state["global"] |= {"last_sync": group["last_sync"], "phi_squared": group["phi_squared"]}
    count = sum(matrices)
    shared = {key: group[key] for key in ("rho", "alpha", "adaptive") if key in group}
    matrix = {key: group[key] for key in optimizer.matrix_keys}
    rest = {name: group[key] for key, name in RENAMED.items()}
    rest["lr"] = group["lr"] if rest["lr"] is None else rest["lr"]
    groups = [
        {"params": list(range(count)), "kind": "matrix", **matrix, **shared},
        {"params": list(range(count, len(order))), "kind": "adamw", **rest, **shared},
    ]
    return {"state": new_state, "param_groups": groups}


@pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS.keys())
def test_goes_on_bit_for_bit(make: Callable[..., torch.optim.Optimizer], problem: type) -> None:
    p = problem()
    optimizer = make(p.params, adam_lr=0.02)
    p.train(optimizer, range(3))
    saved = as_version_0_1_0(optimizer)

    q = problem()
    for new, old in zip(q.params, p.params, strict=True):
        new.data.copy_(old.detach())
    arguments = {"second_moment": None} if isinstance(optimizer, ARS) else {}
    resumed = make(q.params, adam_lr=0.02, **arguments)  # as by a user who has not heard of it
    resumed.load_state_dict(saved)
    assert "global" not in resumed.state
    assert p.train(optimizer, range(3, 10)) == q.train(resumed, range(3, 10))
    for new, old in zip(q.params, p.params, strict=True):
        assert torch.equal(new, old)
    assert resumed.diagnostics() == optimizer.diagnostics()


def test_groups_of_a_kind_are_taken_as_they_are(problem: type) -> None:
    p, q = problem(), problem()

    def make(params: list[torch.Tensor]) -> ARS:
        groups = [{"params": params[:5], "kind": "matrix"}, {"params": params[5:], "kind": "adamw"}]
        return ARS(groups, k=4, second_moment="plain")

    optimizer, resumed = make(p.params), make(q.params)
    p.train(optimizer, range(2))
    saved = deepcopy(optimizer.state_dict())
    progress = {"step": 2, "last_sync": 1, "phi_squared": 0.0}
    saved["state"]["global"] = progress | {"diagnostics": optimizer.diagnostics()}
    for entries in list(saved["state"].values())[:-1]:
        del entries["step"]
    for group in saved["param_groups"]:
        for key in (*ARS.progress_keys, "second_moment", "maximize"):
            del group[key]
    for new, old in zip(q.params, p.params, strict=True):
        new.data.copy_(old.detach())
    resumed.load_state_dict(saved)
    assert [group["second_moment"] for group in resumed.param_groups] == ["plain", "plain"]
    assert p.train(optimizer, range(2, 6)) == q.train(resumed, range(2, 6))


def test_another_number_of_parameters_is_refused(problem: type) -> None:
    p = problem()
    optimizer = AdaRMSuon(p.params)
    p.train(optimizer, range(1))
    with pytest.raises(ValueError, match="size of optimizer's group"):
        AdaRMSuon(problem().params[:-2]).load_state_dict(as_version_0_1_0(optimizer))


def _changed(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(state_dict: dict[str, Any]) -> None:
        for key in path[:-1]:
            state_dict = state_dict[key]
        state_dict[path[-1]] = value

    return change


GROUP, FIRST = ("param_groups", 0), ("state", 0)


@pytest.mark.parametrize(
    ("make", "path", "value", "words"),
    [
        (VARIANTS["ARS-k4"], (*GROUP, "rho"), "large", "rho is 'large'; it must be a number"),
        (VARIANTS["ARS-k4"], (*GROUP, "betas"), 0.9, "betas is 0.9; it must be a list of two numbers"),
        (VARIANTS["ARS-k4"], (*GROUP, "kind"), "adamw", "the kind of a parameter group is 'adamw'"),
        (VARIANTS["ARS-k4"], (*GROUP, "schedule_step"), "4", "schedule_step of a parameter group is '4'"),
        (
            VARIANTS["ARS-k4"],
            (*GROUP, "cosines"),
            torch.ones(2),
            "cosines of a parameter group is a torch.float",
        ),
        (
            VARIANTS["ARS-k4"],
            (*FIRST, "flatness"),
            [1.0],
            r"flatness of a parameter of shape \(3, 4\) is \[1.0\]",
        ),
        (VARIANTS["Muon"], (*FIRST, "step"), "5", "the step of a parameter is '5'"),
        (
            VARIANTS["Muon"],
            (*FIRST, "exp_avg"),
            torch.ones(4, 3),
            r"\(3, 4\) is a torch.float32 of shape \(4, 3\)",
        ),
        (VARIANTS["Muon"], (*FIRST, "exp_avg"), torch.ones(3, 4).int(), "is a torch.int32 of shape"),
        (AdamW, (*GROUP, "eps"), None, "eps is None; it must be a number"),
        (
            AdamW,
            (*FIRST, "exp_avg_sq"),
            torch.ones(3),
            r"exp_avg_sq of a parameter of shape \(3, 4\) is a torch",
        ),
        (AdamW, FIRST, {"step": 1}, "the state of a parameter has no exp_avg, exp_avg_sq"),
    ],
)
def test_values_of_another_kind_are_refused_when_they_are_loaded(make, path, value, words):
    def stepped() -> torch.optim.Optimizer:
        weight = torch.nn.Parameter(torch.ones(3, 4))
        optimizer = make([weight])

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = (weight**2).sum()
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)
        return optimizer

    state_dict = deepcopy(stepped().state_dict())
    optimizer = stepped()
    optimizer.load_state_dict(deepcopy(state_dict))
    before = deepcopy(optimizer.state_dict())
    _changed(path, value)(state_dict)
    with pytest.raises(ValueError, match=words):
        optimizer.load_state_dict(state_dict)
    assert str(optimizer.state_dict()) == str(before)


def test_a_schedule_that_stood_at_zero_goes_on(problem: type) -> None:
    p = problem()
    optimizer = AdaRMSuon(p.params, lr=0.01, adam_lr=0.02)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    p.train(optimizer, range(1))
    saved = as_version_0_1_0(optimizer)
    for group, initial in zip(saved["param_groups"], (0.01, 0.02), strict=True):
        group |= {"lr": 0.0, "initial_lr": initial}
    resumed = AdaRMSuon(problem().params, lr=0.01, adam_lr=0.02)
    resumed.load_state_dict(saved)
    (group,) = resumed.param_groups
    assert (group["lr"], group["base_lr"], group["adam_lr"]) == (0.0, 0.01, 0.02)
