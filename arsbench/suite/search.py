"""Search spaces: what tuning may choose, as a suite file declares it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arsbench.config.checking import CHECKED_TOGETHER
from arsbench.errors import UserError, shown

MOST_CHOICES = 100


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, drawn evenly or, with `log`, evenly in the logarithm.

    Whole numbers where both ends are.
    """

    low: float
    high: float
    log: bool

    def bounds(self) -> list[Any]:
        """The values that a configuration must accept for it to accept all."""
        return [self.low, self.high]

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choices:
    """One of several values, without an order."""

    values: tuple[Any, ...]

    def bounds(self) -> list[Any]:
        """All of them."""
        return list(self.values)


Parameter = Range | Choices


def corners(search: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    """The points that a configuration must accept for it to accept the whole space.

    They are every bound of each key, and every combination of bounds of the keys that are checked together,
    always beside the first bound of the others. All combinations of the bounds of n keys would be 2ⁿ or more.
    """
    first = {key: parameter.bounds()[0] for key, parameter in search.items()}
    names = search["name"].bounds() if "name" in search else [None]
    for name in names:  # decides which keys are checked at all
        chosen = first if name is None else first | {"name": name}
        for key, parameter in search.items():
            if key != "name":
                yield from (chosen | {key: value} for value in parameter.bounds())
        together = [key for key in CHECKED_TOGETHER if key in search]
        for values in itertools.product(*(search[key].bounds() for key in together)):
            yield chosen | dict(zip(together, values, strict=True))


def read_search(where: str, table: Mapping[str, Any]) -> dict[str, Parameter]:
    """The search space in a suite file's table, by key of the section `optimizer`.

    Args:
        where: the table's name, for errors.
        table: for each key `{ low = …, high = …, log = … }` or a list of choices.

    Raises:
        UserError: an entry is neither, or its bounds are none.
    """
    return {key: _parameter(f"{where}.{key}", value) for key, value in table.items()}


def _parameter(where: str, value: Any) -> Parameter:
    if isinstance(value, list):
        if len(value) > MOST_CHOICES:
            raise UserError(f"{where} lists {len(value)} choices; list at most {MOST_CHOICES}")
        if len(value) < 2:
            raise UserError(
                f"{where} is {shown(value)}, which leaves no choice; list two values at least, or give the "
                f"one outside of search"
            )
        return Choices(tuple(value))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise UserError(
            f"{where} is {shown(value)}; it must be a range such as "
            f"{{ low = 1e-4, high = 1e-2, log = true }} or a list of choices"
        )
    low, high, log = value["low"], value["high"], value.get("log", False)
    for name, bound in (("low", low), ("high", high)):
        if type(bound) not in (int, float) or not math.isfinite(bound):
            raise UserError(f"{where}.{name} is {shown(bound)}; it must be a number")
    if type(log) is not bool:
        raise UserError(f"{where}.log is {shown(log)}; it must be true or false")
    if low >= high:
        raise UserError(f"{where} goes from {low} to {high}; low must be below high")
    if log and low <= 0:
        raise UserError(f"{where}.low is {low}; a logarithmic range must begin above 0")
    return Range(low, high, log)
