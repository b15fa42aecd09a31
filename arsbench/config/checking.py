"""From sections and keys to a checked `Config`: types, limits, and keys that depend on one another."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from arsbench.config.hyperparameters import is_third_party, optimizer_keys
from arsbench.config.keys import require
from arsbench.config.schema import CHOICE_KEYS, SECTIONS, Config, ModelConfig, OptimizerConfig
from arsbench.errors import UserError, nearest, require_line, shown

# The keys of the section `optimizer` that `_check_together` checks as a pair.
CHECKED_TOGETHER = ("adaptive_sync", "k")


def config_from_dict(given: Mapping[str, Any]) -> Config:
    """A checked `Config` of the sections and keys in `given` (see `load_config` for the errors)."""
    sections = {}
    for section_name, table in given.items():
        if section_name not in SECTIONS:
            raise UserError(f"unknown section {shown(section_name)}{nearest(section_name, SECTIONS)}")
        if not isinstance(table, Mapping):
            raise UserError(f"{section_name} is {shown(table)}; it must be a table of keys")
        sections[section_name] = _section(section_name, table)
    config = Config(**sections, given={name: dict(table) for name, table in given.items()})
    _check_together(config)
    return config


@cache
def _keys(section: str) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Type and metadata of every key of a section."""
    annotations = typing.get_type_hints(SECTIONS[section])
    return {entry.name: (annotations[entry.name], entry.metadata) for entry in fields(SECTIONS[section])}


def _section(section: str, table: Mapping[str, Any]) -> Any:
    keys = _keys(section)
    third_party = section == "optimizer" and is_third_party(table)
    if third_party:  # any other key is the class's own, even if a built-in optimizer has one of that name
        keys = {key: keys[key] for key in keys if key in CHOICE_KEYS or key.startswith("adam_")}
    values = {}
    for key, value in table.items():
        if key in keys:
            values[key] = require(f"{section}.{key}", value, *keys[key])
            for text in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(text, str):
                    require_line(f"{section}.{key}", text)
        elif not third_party:
            name = shown(key).strip("'\"")
            raise UserError(f"unknown key {section}.{name}{nearest(key, keys, prefix=section + '.')}")
    return SECTIONS[section](**values)


def _check_together(config: Config) -> None:
    """Check the keys whose valid values depend on other keys."""
    tasks, optimizer, model = config.experiment.tasks, config.optimizer, config.model
    if len(tasks) != 1:
        raise UserError(f"experiment.tasks is {shown(tasks)}; name one task, and start one run per task")
    if not is_third_party({"name": optimizer.name}):
        optimizer_keys(optimizer.name)
        _check_built_in(optimizer)
    if model.type == "one_layer":
        _check_one_layer(model)
    elif model.head_dim % 2:
        raise UserError(f"model.head_dim is {model.head_dim}; rotary embedding needs an even number")
    if model.num_kv_heads is not None and model.num_heads % model.num_kv_heads:
        raise UserError(
            f"model.num_kv_heads is {model.num_kv_heads}; it must divide num_heads, {model.num_heads}"
        )
    if optimizer.adaptive_sync and optimizer.k < 2:
        raise UserError(f"optimizer.k is {optimizer.k}; it must be ≥ 2 with adaptive_sync")


def _check_built_in(optimizer: OptimizerConfig) -> None:
    """A built-in optimizer chooses its parameter groups itself, and wraps no other optimizer."""
    for name, default in (("groups", "split"), ("base", None)):
        value = getattr(optimizer, name)
        if value != default:
            raise UserError(
                f"optimizer.{name} is {shown(value)}, which is for third-party optimizers, and "
                f"optimizer.name is {shown(optimizer.name)}; leave {name} out"
            )


def _check_one_layer(model: ModelConfig) -> None:
    """The model `one_layer` has no choice of these keys: another value would be shown without effect."""
    for name, only in (("num_layers", 1), ("num_kv_heads", None), ("tie_word_embeddings", False)):
        value = getattr(model, name)
        if value != only:
            raise UserError(
                f"model.{name} is {json.dumps(value)}; the model one_layer needs {json.dumps(only)}, as in "
                f"the preset mod_addition"
            )
