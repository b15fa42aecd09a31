"""Wrong arguments are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from arsbench.optim import ARS, AdaMuon, AdamW, AdaRMSuon, Muon, RMSuon

NAN = float("nan")
MATRIX_OPTIMIZERS = (ARS, AdaRMSuon, RMSuon, AdaMuon, Muon)
BAD: list[tuple[type, str, Any]] = [
    *((cls, "lr", value) for cls in (*MATRIX_OPTIMIZERS, AdamW) for value in (-1e-3, NAN, "0.1", None, True)),
    *((cls, "weight_decay", -0.1) for cls in (*MATRIX_OPTIMIZERS, AdamW)),
    *((cls, "ns_steps", value) for cls in MATRIX_OPTIMIZERS for value in (-1, 2.5, True, 10**11)),
    *((cls, "maximize", value) for cls in (*MATRIX_OPTIMIZERS, AdamW) for value in (1, None)),
    *((cls, "adam_lr", -1.0) for cls in MATRIX_OPTIMIZERS),
    *((cls, "adam_betas", (0.9, 1.0)) for cls in MATRIX_OPTIMIZERS),
    *((cls, "adam_eps", -1e-8) for cls in MATRIX_OPTIMIZERS),
    *((cls, "adam_weight_decay", float("inf")) for cls in MATRIX_OPTIMIZERS),
    *(
        (cls, "betas", value)
        for cls in (ARS, AdaRMSuon, RMSuon, AdaMuon, AdamW)
        for value in ((0.9, 1.0), (-0.1, 0.9), (0.9,), 0.9, (0.9, NAN))
    ),
    *((cls, "eps", -1e-8) for cls in (ARS, AdaRMSuon, RMSuon, AdaMuon, AdamW)),
    *((cls, "momentum", value) for cls in (Muon, AdaMuon) for value in (1.0, -0.1)),
    *((ARS, "k", value) for value in (-1, 2.5, None, 10_001)),
    *((ARS, "second_moment", value) for value in ("both", "", 1)),
    (ARS, "rho", -0.1),
    (ARS, "alpha", -0.1),
    (ARS, "adaptive", 1),
    (ARS, "adaptive_sync", "yes"),
    (ARS, "adaptive_beta", 1.0),
    (ARS, "adaptive_lambda", -1.0),
    (ARS, "adaptive_gamma", -1.0),
]


@pytest.mark.parametrize(("optimizer", "name", "value"), BAD)
def test_bad_argument_is_named(optimizer: type, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} is .*; it must be ") as caught:
        optimizer([torch.nn.Parameter(torch.ones(2, 2))], **{name: value})
    assert repr(value) in str(caught.value)


def test_bad_argument_in_a_group_is_named() -> None:
    p, q = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=r"^ns_steps is -2; it must be ≥ 0$"):
        ARS([{"params": [p], "ns_steps": -2}])
    with pytest.raises(ValueError, match=r"^rho is -2; it must be ≥ 0$"):
        ARS([{"params": [q], "kind": "adamw", "rho": -2}])
    with pytest.raises(
        ValueError, match=r"^betas is \(2, 0.9\); it must be a list of two numbers, each < 1$"
    ):
        ARS([{"params": [q], "kind": "adamw", "betas": (2, 0.9)}])


@pytest.mark.parametrize("k", [0, 1])
def test_adaptive_schedule_needs_a_period(k: int) -> None:
    with pytest.raises(ValueError, match=rf"^k is {k}; it must be ≥ 2 with adaptive_sync$"):
        ARS([torch.nn.Parameter(torch.ones(2, 2))], k=k, adaptive_sync=True)


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^params has a tensor of torch.float16; it must be float32"):
        ARS([torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float16))])
    with pytest.raises(ValueError, match=r"^a matrix group has a tensor of fewer than two dimensions"):
        ARS([{"params": [torch.nn.Parameter(torch.ones(3))], "kind": "matrix"}])
    with pytest.raises(ValueError, match=r"^kind is 'vector'; it must be"):
        ARS([{"params": [torch.nn.Parameter(torch.ones(3))], "kind": "vector"}])
    p = torch.nn.Parameter(torch.ones(3, 3))
    with pytest.raises(ValueError, match="more than one parameter group"):
        ARS([{"params": [p], "kind": "matrix"}, {"params": [p], "kind": "adamw"}])
