"""The built-in optimizers as a configuration sees them: which keys each has, and its constructor's defaults.

The classes are in `arsbench.optim`, which needs torch; tests/optim/test_registry.py holds both together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from arsbench.errors import UserError, nearest, shown

_ADAM_GROUP = {"adam_lr": None, "adam_betas": [0.9, 0.999], "adam_eps": 1e-8, "adam_weight_decay": 0.01}
_MOMENTS = {"lr": 1e-4, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.1}

BUILT_IN: dict[str, dict[str, Any]] = {
    "ARS": {
        **_MOMENTS,
        "ns_steps": 5,
        "rho": 0.1,
        "k": 5,
        "alpha": 0.1,
        "adaptive": True,
        "adaptive_sync": False,
        "adaptive_beta": 0.99,
        "adaptive_lambda": 2.0,
        "adaptive_gamma": 2.0,
        "second_moment": None,
        **_ADAM_GROUP,
    },
    "AdaRMSuon": {**_MOMENTS, "ns_steps": 5, **_ADAM_GROUP},
    "RMSuon": {**_MOMENTS, "ns_steps": 5, **_ADAM_GROUP},
    "AdaMuon": {**_MOMENTS, "lr": 1e-3, "momentum": 0.95, "ns_steps": 5, **_ADAM_GROUP},
    "Muon": {"lr": 1e-3, "momentum": 0.95, "weight_decay": 0.1, "ns_steps": 5, **_ADAM_GROUP},
    "AdamW": {"lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01},
}


def is_third_party(optimizer: Mapping[str, Any]) -> bool:
    """Whether an optimizer table names another package's class, as `package.module:Class`."""
    return ":" in str(optimizer.get("name", ""))


def optimizer_keys(name: str) -> tuple[str, ...]:
    """The keys of the section `optimizer`, besides `name`, that a built-in optimizer has.

    Raises:
        UserError: there is no built-in optimizer of that name.
    """
    if name not in BUILT_IN:
        raise UserError(
            f"optimizer.name is {shown(name)}; it must be a built-in optimizer or package.module:Class"
            f"{nearest(name, BUILT_IN)}"
        )
    return tuple(BUILT_IN[name])


def check_named_keys(optimizer: str, keys: Iterable[str]) -> None:
    """Refuse keys that a user names for an optimizer which does not have them.

    The table of a configuration file may hold keys of other built-in optimizers, so that one file serves them
    all; a key that is named for one optimizer would be ignored without a word.

    Args:
        optimizer: the value of `optimizer.name`.
        keys: of the section `optimizer`.

    Raises:
        UserError: `optimizer` is built-in and lacks one of them.
    """
    for key in keys:
        if not has_key(optimizer, key):
            known = ", ".join(optimizer_keys(optimizer))
            raise UserError(f"{optimizer} has no optimizer.{key}; its keys are {known}")


def has_key(optimizer: str, key: str) -> bool:
    """Whether the section `optimizer` may have `key` under `optimizer.name`; of other packages' any."""
    return key == "name" or is_third_party({"name": optimizer}) or key in optimizer_keys(optimizer)
