"""Search spaces of a suite file: the values that tuning chooses from.

Their keys, types and limits are those of a configuration (`arsbench.config.hyperparameters`), which checks
the `corners` of a space.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from arsbench.config.checking import CHECKED_TOGETHER
from arsbench.config.keys import require
from arsbench.errors import UserError, shown

MOST_CHOICES = 100


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high` (inclusive), uniform or, with `log`, log-uniform.

    Whole numbers if both bounds are.
    """

    low: float
    high: float
    log: bool

    def bounds(self) -> list[Any]:
        """The values to check: a configuration that accepts them accepts all."""
        return [self.low, self.high]

    @property
    def whole(self) -> bool:
        """Whether the range has whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Choices:
    """Several values without an order."""

    values: tuple[Any, ...]

    def bounds(self) -> list[Any]:
        """All values."""
        return list(self.values)


Parameter = Range | Choices


def corners(search: Mapping[str, Parameter]) -> Iterator[dict[str, Any]]:
    """The points to check: a configuration that accepts them accepts the whole space.

    They are every bound of each key, and every combination of bounds of the keys that are checked together,
    with the first bound of all other keys. (All combinations of the bounds of n keys are 2ⁿ or more.)
    """
    first = {key: parameter.bounds()[0] for key, parameter in search.items()}
    names = search["name"].bounds() if "name" in search else [None]
    for name in names:  # which decides the keys that are checked
        chosen = first if name is None else first | {"name": name}
        for key, parameter in search.items():
            if key != "name":
                yield from (chosen | {key: value} for value in parameter.bounds())
        together = [key for key in CHECKED_TOGETHER if key in search]
        for values in itertools.product(*(search[key].bounds() for key in together)):
            yield chosen | dict(zip(together, values, strict=True))


def read_parameter(where: str, value: Any) -> Parameter:
    """The parameter `where` of a suite file: `{ low = …, high = …, log = … }` or a list of choices.

    Raises:
        UserError: the value is neither, or its bounds are invalid.
    """
    if isinstance(value, list):
        if len(value) > MOST_CHOICES:
            raise UserError(f"{where} lists {len(value)} choices; list at most {MOST_CHOICES}")
        if len(value) < 2:
            raise UserError(
                f"{where} is {shown(value)}; list at least two values, or set the value outside of search"
            )
        return Choices(tuple(value))
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        raise UserError(
            f"{where} is {shown(value)}; it must be a range such as "
            f"{{ low = 1e-4, high = 1e-2, log = true }} or a list of choices"
        )
    low, high, log = value["low"], value["high"], value.get("log", False)
    require(f"{where}.low", low, float)
    require(f"{where}.high", high, float)
    require(f"{where}.log", log, bool)
    if low >= high:
        raise UserError(f"{where} has low {low} and high {high}; low must be < high")
    if log and low <= 0:
        raise UserError(f"{where}.low is {low}; it must be > 0 in a logarithmic range")
    return Range(low, high, log)
