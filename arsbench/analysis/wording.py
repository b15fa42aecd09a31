"""Groups of equal values, and phrases that warnings and verdicts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

_Item = TypeVar("_Item")


def by_value(items: Iterable[_Item], value: Callable[[_Item], Any]) -> list[tuple[Any, list[_Item]]]:
    """Each value with its items, in the order in which values first appear; values need not be hashable."""
    groups: list[tuple[Any, list[_Item]]] = []
    for item in items:
        key = value(item)
        members = next((members for other, members in groups if other == key), None)
        if members is None:
            groups.append((key, [item]))
        else:
            members.append(item)
    return groups


def listed(names: Sequence[str], most: int = 6) -> str:
    """ "A, B and C"; of more than `most` names, the first ones and the number of the others."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def in_digits(value: float, spec: str) -> str:
    """A number by the format `spec` of fixed digits; in scientific notation from 1e15 on."""
    return format(value, spec if abs(value) < 1e15 else spec.replace("f", "e"))
