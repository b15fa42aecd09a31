"""Entries of a suite file, each checked by itself; what is wrong is a UserError of one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from arsbench.config import SECTIONS
from arsbench.errors import UserError, nearest, require_line, shown

Sections = dict[str, dict[str, Any]]

MOST_SEEDS = 1000

# The suite itself decides these, the same for all contenders.
_FIXED = {"experiment.seed": "seeds", "experiment.tasks": "the suite's config or set"}


def merged(*layers: Mapping[str, Mapping[str, Any]]) -> Sections:
    """Sections of which later layers' keys replace earlier ones'."""
    result: Sections = {}
    for layer in layers:
        for section, table in layer.items():
            result.setdefault(section, {}).update(deepcopy(dict(table)))
    return result


def slug(name: str) -> str:
    """A name as folders have it: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def read_name(given: Mapping[str, Any], key: str) -> str:
    """A string of one line that must be there."""
    value = given.get(key)
    if not isinstance(value, str) or not value:
        example = {"name": "my-optimizers", "config": "demo"}[key]
        raise UserError(f"{key} is {shown(value)}; it must be a string, such as {example!r}")
    require_line(key, value)
    return value


def read_table(where: str, value: Any) -> Mapping[str, Any]:
    """A table, called `where` in errors."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {shown(value)}; it must be a table of keys")
    return value


def check_keys(prefix: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse unknown keys, which `prefix` leads to."""
    for key in given:
        if key not in known:
            raise UserError(f"unknown key {shown(prefix + key)} in the suite{nearest(key, known)}")


def check_plain(given: dict[str, Any]) -> None:
    """TOML has dates, which no configuration takes."""
    try:
        json.dumps(given)
    except TypeError as error:
        raise UserError(f"the suite holds a date or time ({error}); write a string or a number") from None


def read_seeds(key: str, value: Any) -> tuple[int, ...]:
    """Seeds, each once."""
    if not isinstance(value, list) or not value:
        raise UserError(f"{key} is {shown(value)}; it must be a list of whole numbers, such as [1, 2, 3]")
    if len(value) > MOST_SEEDS:
        raise UserError(f"{key} lists {len(value):,} seeds; list at most {MOST_SEEDS:,}")
    for seed in value:
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise UserError(f"{key} has {shown(seed)}; a seed must be a whole number of at least 0")
        if value.count(seed) > 1:
            raise UserError(f"{key} has {seed} twice; name every seed once")
    return tuple(value)


def read_changes(where: str, table: Any, *, optimizer: bool) -> Sections:
    """Keys of configuration sections, written as `train.epochs = 1` with or without quotes."""
    sections: Sections = {}
    for key, value in read_table(where, table).items():
        section, dot, name = key.partition(".")
        if section not in SECTIONS:
            raise UserError(f"{where} has the unknown section {shown(section)}{nearest(section, SECTIONS)}")
        if section == "optimizer" and not optimizer:
            raise UserError(
                f"{where}.optimizer has no place there; a contender's own keys are its optimizer's"
            )
        if dot:
            value = {name: value}
        elif not isinstance(value, dict):
            raise UserError(f"{where}.{key} is {shown(value)}; name a key, such as {key}.{_first_key(key)}")
        for name in value:
            if f"{section}.{name}" in _FIXED and not (where == "set" and name == "tasks"):
                raise UserError(
                    f"{where} sets {section}.{name}, which {_FIXED[f'{section}.{name}']} decides for all; "
                    f"set it there"
                )
        sections.setdefault(section, {}).update(value)
    return sections


def _first_key(section: str) -> str:
    return next(iter(SECTIONS[section].__dataclass_fields__))
