"""Entries of a suite file, each with its checks; mistakes are UserErrors of one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any

from arsbench.config import SECTIONS
from arsbench.config.keys import require
from arsbench.errors import UserError, nearest, require_line, shown

Sections = dict[str, dict[str, Any]]

MOST_SEEDS = 1000

# Keys that are the same for all contenders, and the entry of the suite file that sets them.
_FIXED = {"experiment.seed": "seeds", "experiment.tasks": "the suite's config or set"}


def merged(*layers: Mapping[str, Mapping[str, Any]]) -> Sections:
    """The sections of all layers; a key of a later layer replaces that of an earlier one."""
    result: Sections = {}
    for layer in layers:
        for section, table in layer.items():
            result.setdefault(section, {}).update(deepcopy(dict(table)))
    return result


def slug(name: str) -> str:
    """The folder name of a name: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def read_name(table: Mapping[str, Any], key: str) -> str:
    """A required string of one line."""
    value = table.get(key)
    if not isinstance(value, str) or not value:
        example = {"name": "my-optimizers", "config": "demo"}[key]
        raise UserError(f"{key} is {shown(value)}; it must be a string, such as {example!r}")
    require_line(key, value)
    return value


def read_table(where: str, value: Any) -> Mapping[str, Any]:
    """A table; `where` is its name in errors."""
    if not isinstance(value, dict):
        raise UserError(f"{where} is {shown(value)}; it must be a table of keys")
    return value


def check_keys(prefix: str, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse unknown keys of a table, whose keys have the prefix in errors."""
    for key in table:
        if key not in allowed:
            raise UserError(f"unknown key {shown(prefix + key)} in the suite{nearest(key, allowed)}")


def check_plain(document: dict[str, Any]) -> None:
    """Refuse the dates and times of TOML, which no configuration key accepts."""
    try:
        json.dumps(document)
    except TypeError as error:
        raise UserError(f"the suite holds a date or time ({error}); write a string or a number") from None


def read_seeds(key: str, value: Any) -> tuple[int, ...]:
    """A list of seeds without duplicates."""
    seeds = require(key, value, list[int], {"minimum": 0, "below": 2**63})
    if len(seeds) > MOST_SEEDS:
        raise UserError(f"{key} lists {len(seeds):,} seeds; list at most {MOST_SEEDS:,}")
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise UserError(f"{key} has {seed} twice; list every seed once")
    return tuple(seeds)


def read_changes(where: str, table: Any, *, optimizer: bool) -> Sections:
    """Keys of configuration sections, such as `train.epochs = 1`, with or without quotes.

    `where` is the table's name in errors, `optimizer` whether the section of that name is allowed.
    """
    sections: Sections = {}
    for key, value in read_table(where, table).items():
        section, dot, name = key.partition(".")
        if section not in SECTIONS:
            raise UserError(f"{where} has the unknown section {shown(section)}{nearest(section, SECTIONS)}")
        if section == "optimizer" and not optimizer:
            raise UserError(
                f"{where}.optimizer is not allowed; write the contender's optimizer keys in its table"
            )
        if dot:
            value = {name: value}
        elif not isinstance(value, dict):
            first = fields(SECTIONS[key])[0].name
            raise UserError(f"{where}.{key} is {shown(value)}; name a key, such as {key}.{first}")
        for name in value:
            entry = _FIXED.get(f"{section}.{name}")
            if entry and not (where == "set" and name == "tasks"):
                raise UserError(
                    f"{where} sets {section}.{name}, which is the same for all contenders; set it in {entry}"
                )
        sections.setdefault(section, {}).update(value)
    return sections
