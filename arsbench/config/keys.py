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

from arsbench.errors import UserError, shown

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
_TYPES = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    bool: (bool, "true or false"),
    str: (str, "a string"),
}


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


def checked(value: Any, annotation: Any, metadata: Mapping[str, Any]) -> Any:
    """A value in a key's type: a whole number becomes a float where the key is one.

    Args:
        value: any Python object.
        annotation: the key's type: int, float, bool, str, a list of one of them, or one of these or None.
        metadata: the key's limits, as of `key`.

    Raises:
        ValueError: the value is invalid. The message is the end of a sentence that begins with "it must be",
            such as "≥ 0" or "a list of two numbers".
    """
    base = typing.get_args(annotation)[0] if isinstance(annotation, types.UnionType) else annotation
    if value is None and base is not annotation:
        return None
    if typing.get_origin(base) is list:
        return _checked_list(value, typing.get_args(base)[0], metadata)
    accepted, words = _TYPES[base]
    if not isinstance(value, accepted) or isinstance(value, bool) != (base is bool):
        raise ValueError(words)
    try:
        value = base(value)
    except OverflowError:  # an int beyond the largest float
        value = math.inf
    if base is float and not math.isfinite(value):
        raise ValueError("finite")
    for name, (holds, sign) in _LIMITS.items():
        if name in metadata and not holds(value, metadata[name]):
            raise ValueError(f"{sign} {metadata[name]:,}")
    if value not in metadata.get("choices", (value,)):
        raise ValueError(f"one of {', '.join(metadata['choices'])}")
    return value


def require(name: str, value: Any, annotation: Any, metadata: Mapping[str, Any] | None = None) -> Any:
    """The result of `checked`, for a value that a user sets under `name`.

    Raises:
        UserError: the value is invalid.
    """
    try:
        return checked(value, annotation, metadata or {})
    except ValueError as error:
        raise UserError(f"{name} is {shown(value)}; it must be {error}") from None


def _checked_list(value: Any, element: type, metadata: Mapping[str, Any]) -> list[Any]:
    words = f"a list of {'two ' if element is float else ''}{_TYPES[element][1].removeprefix('a ')}s"
    if not isinstance(value, (list, tuple)) or not value or (element is float and len(value) != 2):
        raise ValueError(words)
    try:
        return [checked(item, element, metadata) for item in value]
    except ValueError as error:
        raise ValueError(words if str(error).startswith("a ") else f"{words}, each {error}") from None
