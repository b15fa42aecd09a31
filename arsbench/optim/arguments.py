"""Which values the optimizers' arguments may have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from arsbench.config.schema import LONGEST_PERIOD, MOST_ITERATIONS
from arsbench.ops.ars_moments import SECOND_MOMENTS


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Check every argument whose name is known; `adam_` before a name changes nothing.

    Raises:
        ValueError: naming the argument, its value and what it must be.
    """
    for name, value in arguments.items():
        if name == "adam_lr" and value is None:
            continue
        known = RULES.get(name.removeprefix("adam_"))
        if known is not None and not known[0](value):
            raise ValueError(f"{name} must be {known[1]}, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_nonnegative(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_decay(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_learning_rate(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and _is_nonnegative(value.item())
    return _is_nonnegative(value)


def _counts_to(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Integral) and not isinstance(value, bool) and 0 <= value <= most


def _are_decays(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_decay, value))


_NONNEGATIVE = (_is_nonnegative, "a number of 0 or more")
_DECAY = (_is_decay, "a number in [0, 1)")
_FLAG = (lambda value: isinstance(value, bool), "True or False")

RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "lr": (_is_learning_rate, "a number of 0 or more, or a tensor of one"),
    "betas": (_are_decays, "two numbers in [0, 1)"),
    "eps": _NONNEGATIVE,
    "weight_decay": _NONNEGATIVE,
    "momentum": _DECAY,
    "ns_steps": (_counts_to(MOST_ITERATIONS), f"an integer from 0 to {MOST_ITERATIONS}"),
    "rho": _NONNEGATIVE,
    "k": (_counts_to(LONGEST_PERIOD), f"an integer from 0 to {LONGEST_PERIOD}"),
    "alpha": _NONNEGATIVE,
    "adaptive": _FLAG,
    "adaptive_sync": _FLAG,
    "adaptive_beta": _DECAY,
    "adaptive_lambda": _NONNEGATIVE,
    "adaptive_gamma": _NONNEGATIVE,
    "second_moment": (lambda value: value in SECOND_MOMENTS, f"one of {', '.join(SECOND_MOMENTS)}"),
    "maximize": _FLAG,
}
