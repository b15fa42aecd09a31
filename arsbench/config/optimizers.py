"""Which keys the section `optimizer` may have: a built-in optimizer's, or any for a third-party one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from arsbench.config.hyperparameters import BUILT_IN
from arsbench.errors import UserError, nearest, shown


def is_third_party(optimizer: Mapping[str, Any]) -> bool:
    """Whether an optimizer table names a third-party class, as `package.module:Class`."""
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
    """Refuse keys that a user sets for an optimizer which does not have them.

    The table of a configuration file may hold keys of other built-in optimizers, so that one file serves them
    all. A key that is set for one optimizer must be a key of that optimizer: ignoring it would hide a
    mistake.

    Raises:
        UserError: the optimizer is built-in and lacks one of the keys.
    """
    for key in keys:
        if not has_key(optimizer, key):
            raise UserError(
                f"{optimizer} has no optimizer.{key}; its keys are {', '.join(optimizer_keys(optimizer))}"
            )


def has_key(optimizer: str, key: str) -> bool:
    """Whether the section `optimizer` may have `key` under `optimizer.name`; a third-party one takes any."""
    return key == "name" or is_third_party({"name": optimizer}) or key in optimizer_keys(optimizer)
