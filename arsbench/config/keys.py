"""One configuration key: how it is declared, and which values it takes."""

from __future__ import annotations

import math
import operator
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from numbers import Integral, Real
from typing import Any

# Limits that no training reaches: a typing error is refused instead of running for years.
# Whether a model fits into memory is a different question (`arsbench.training.memory`).
WIDEST = 10**9
MOST_STEPS = 10**12

_LIMITS = {
    "minimum": (operator.ge, "≥"),
    "maximum": (operator.le, "≤"),
    "above": (operator.gt, ">"),
    "below": (operator.lt, "<"),
}
_TYPES = {int: (Integral, "whole number"), float: (Real, "number"), str: (str, "string")}


def key(default: Any, doc: str, **metadata: Any) -> Any:
    """A configuration key, as a field of a dataclass.

    Args:
        default: its value where the configuration does not set it.
        doc: its meaning in one sentence, with its unit.
        metadata: its limits: `minimum`, `maximum` (inclusive), `above`, `below` (exclusive) or `choices`.
    """
    metadata["doc"] = doc
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def limits(metadata: Mapping[str, Any]) -> list[str]:
    """The numeric limits of a key, such as ["≥ 0", "< 1"]."""
    return [f"{sign} {metadata[name]:,}" for name, (_, sign) in _LIMITS.items() if name in metadata]


def requirement(value: Any, annotation: Any, metadata: Mapping[str, Any]) -> str | None:
    """The requirement of a key that `value` does not meet; None for a valid value.

    Args:
        value: any Python object.
        annotation: the key's type: int, float, bool, str, a list of one of them, or one of these or None.
        metadata: the key's limits, as of `key`.

    Returns:
        the end of a sentence that begins with "it must be", such as "≥ 0" or "a list of two numbers".
    """
    base = _without_none(annotation)
    if value is None and base is not annotation:
        return None
    if base is bool:
        return None if isinstance(value, bool) else "true or false"
    if typing.get_origin(base) is not list:
        return _scalar_requirement(value, base, metadata)
    (element,) = typing.get_args(base)
    words = f"a list of {'two ' if element is float else ''}{_TYPES[element][1]}s"
    if not isinstance(value, (list, tuple)) or not value or (element is float and len(value) != 2):
        return words
    problem = next(filter(None, (_scalar_requirement(item, element, metadata) for item in value)), None)
    if problem is None:
        return None
    return words if problem.startswith("a ") else f"{words}, each {problem}"


def converted(value: Any, annotation: Any) -> Any:
    """A valid value in the key's type: a whole number becomes a float where the key is one."""
    base = _without_none(annotation)
    if value is None:
        return None
    if typing.get_origin(base) is list:
        return [typing.get_args(base)[0](item) for item in value]
    return base(value)


def _scalar_requirement(value: Any, base: type, metadata: Mapping[str, Any]) -> str | None:
    accepted, words = _TYPES[base]
    if not isinstance(value, accepted) or isinstance(value, bool):
        return f"a {words}"
    if base is float and not _is_finite(value):
        return "finite"
    for name, (holds, sign) in _LIMITS.items():
        if name in metadata and not holds(value, metadata[name]):
            return f"{sign} {metadata[name]:,}"
    if "choices" in metadata and value not in metadata["choices"]:
        return f"one of {', '.join(metadata['choices'])}"
    return None


def _without_none(annotation: Any) -> Any:
    return typing.get_args(annotation)[0] if isinstance(annotation, types.UnionType) else annotation


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the largest float
        return False
