"""From sections and keys to a checked `Config`: types, ranges, and what keys must be together."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import Field, fields
from functools import cache
from typing import Any

from arsbench.config.optimizers import is_third_party, optimizer_keys
from arsbench.config.schema import SECTIONS, Config, ModelConfig, OptimizerConfig
from arsbench.errors import UserError, nearest, require_line, shown

# The keys of the section `optimizer` whose values `_check_together` checks together.
CHECKED_TOGETHER = ("adaptive_sync", "k")


def config_from_dict(given: Mapping[str, Any]) -> Config:
    """A checked `Config` of the sections and keys in `given` (see `load_config` for the errors)."""
    sections = {}
    for section_name, table in given.items():
        if section_name not in SECTIONS:
            raise UserError(f"unknown section {shown(section_name)}{nearest(section_name, SECTIONS)}")
        if not isinstance(table, Mapping):
            raise UserError(f"{section_name} is {shown(table)}; it must be a table of keys")
        foreign = section_name == "optimizer" and is_third_party(table)
        sections[section_name] = _section(section_name, table, foreign)
    config = Config(**sections, given={name: dict(table) for name, table in given.items()})
    _check_together(config)
    return config


@cache
def _keys(section: str) -> dict[str, tuple[Any, Field]]:
    """Type and field of every key of a section."""
    section_type = SECTIONS[section]
    types_of = typing.get_type_hints(section_type)
    return {entry.name: (types_of[entry.name], entry) for entry in fields(section_type)}


def _section(section: str, table: Mapping[str, Any], foreign: bool) -> Any:
    known = _keys(section)
    if foreign:  # another package's keys mean what that package says, whatever ours of that name mean
        own = ("name", "groups", "base")
        known = {name: entry for name, entry in known.items() if name in own or name.startswith("adam_")}
    values = {}
    for name, value in table.items():
        if name in known:
            wanted, entry = known[name]
            values[name] = _checked(f"{section}.{name}", value, wanted, entry.metadata)
        elif not foreign:
            key = shown(name).strip("'\"")
            raise UserError(f"unknown key {section}.{key}{nearest(name, known, prefix=section + '.')}")
    return SECTIONS[section](**values)


def _checked(name: str, value: Any, wanted: Any, limits: Mapping[str, Any]) -> Any:
    """`value` as the type `wanted` (whole numbers become floats), inside its limits."""
    options = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    if value is None and type(None) in options:
        return None
    base = options[0]
    if typing.get_origin(base) is list:
        element = typing.get_args(base)[0]
        if not isinstance(value, list) or not value:
            raise UserError(f"{name} is {shown(value)}; it must be a list of {_called(element)}")
        if element is float and len(value) != 2:
            raise UserError(f"{name} is {shown(value)}; it must be a list of two numbers")
        return [_checked(name, item, element, limits) for item in value]
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if type(value) is not base or (base is float and not math.isfinite(value)):
        raise UserError(f"{name} is {shown(value)}; it must be {_called(base)}")
    if base is str:
        require_line(name, value)
    for limit, holds, words in (
        ("minimum", lambda bound: value >= bound, "at least {}"),
        ("maximum", lambda bound: value <= bound, "at most {}"),
        ("above", lambda bound: value > bound, "above {}"),
        ("below", lambda bound: value < bound, "below {}"),
        ("choices", lambda bound: value in bound, "one of {}"),
    ):
        if limit in limits and not holds(limits[limit]):
            bound = ", ".join(limits[limit]) if limit == "choices" else f"{limits[limit]:,}"
            raise UserError(f"{name} is {shown(value)}; it must be {words.format(bound)}")
    return value


def _check_together(config: Config) -> None:
    """What one key alone cannot tell."""
    if len(config.experiment.tasks) != 1:
        raise UserError(
            f"experiment.tasks is {shown(config.experiment.tasks)}; name one task, and start one run a task"
        )
    if not is_third_party({"name": config.optimizer.name}):
        optimizer_keys(config.optimizer.name)
        _check_built_in(config.optimizer)
    model = config.model
    if model.type == "one_layer":
        _check_one_layer(model)
    elif model.head_dim % 2:
        raise UserError(f"model.head_dim is {model.head_dim}; rotary embedding needs an even number")
    if model.num_kv_heads is not None and model.num_heads % model.num_kv_heads:
        raise UserError(
            f"model.num_kv_heads is {model.num_kv_heads}; it must divide num_heads, {model.num_heads}"
        )
    if config.optimizer.adaptive_sync and config.optimizer.k < 2:
        raise UserError(
            f"optimizer.k is {config.optimizer.k}; adaptive_sync needs a longest period of at least 2"
        )


def _check_built_in(optimizer: OptimizerConfig) -> None:
    """A built-in optimizer decides itself which parameters it treats how, and wraps none."""
    for name, default in (("groups", "split"), ("base", None)):
        value = getattr(optimizer, name)
        if value != default:
            raise UserError(
                f"optimizer.{name} is {shown(value)}, which is for third-party optimizers, and "
                f"optimizer.name is {shown(optimizer.name)}; leave {name} out"
            )


def _check_one_layer(model: ModelConfig) -> None:
    """What that model is fixed to; any other value would be shown and not be true."""
    for name, only in (("num_layers", 1), ("num_kv_heads", None), ("tie_word_embeddings", False)):
        value = getattr(model, name)
        if value != only:
            raise UserError(
                f"model.{name} is {json.dumps(value)}; the model one_layer needs {json.dumps(only)}, as in "
                f"the preset mod_addition"
            )


def _called(base: type) -> str:
    return {int: "a whole number", float: "a finite number", bool: "true or false", str: "a string"}[base]
