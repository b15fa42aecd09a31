"""Checks of the optimizers' arguments against their declaration in `arsbench.config.hyperparameters`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from arsbench.config.hyperparameters import ANNOTATIONS, METADATA
from arsbench.config.keys import checked

# `maximize` is no key of a configuration, and ARS replaces a `second_moment` of None before the check.
_ANNOTATIONS = ANNOTATIONS | {"maximize": bool, "second_moment": str}


def arguments_of(local_variables: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor by name, without self and params, from its `locals()`."""
    return {
        name: value for name, value in local_variables.items() if name not in ("self", "params", "__class__")
    }


def is_declared(name: str) -> bool:
    """Whether `check_arguments` checks arguments of this name."""
    return name in _ANNOTATIONS


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check the type and the limits of every declared hyperparameter; others are a subclass's concern.

    Raises:
        ValueError: naming the argument, its value and what it must be.
    """
    for name, value in arguments.items():
        if not is_declared(name):
            continue
        number = value
        if name in ("lr", "adam_lr") and isinstance(value, Tensor):  # as torch.optim's optimizers take it
            number = value.item() if value.numel() == 1 and not value.is_complex() else value
        try:
            checked(number, _ANNOTATIONS[name], METADATA.get(name, {}))
        except ValueError as error:
            raise ValueError(f"{name} is {value!r}; it must be {error}") from None
