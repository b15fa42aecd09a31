"""From a file or a preset, with overrides, to a checked `Config`."""

from __future__ import annotations

import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from arsbench.config.schema import SECTIONS, Config, ModelConfig, is_foreign
from arsbench.errors import UserError, nearest

PRESETS = resources.files("arsbench.config") / "presets"


def preset_names() -> list[str]:
    """Names of the configurations that ship with the package."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in PRESETS.iterdir() if entry.name.endswith(".toml")
    )


def preset_text(name: str) -> str:
    """A preset's TOML as it ships.

    Raises:
        UserError: there is no preset of that name.
    """
    if name not in preset_names():
        raise UserError(f"no preset is called {name!r}{nearest(name, preset_names())}")
    return (PRESETS / f"{name}.toml").read_text(encoding="utf-8")


def load_config(source: str, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration.

    Args:
        source: path of a .json or .toml file, or the name of a preset.
        overrides: `section.key=value` strings; a value is read as JSON where it can be, else as a string. One
            that names another package's optimizer drops the file's other keys of the section `optimizer`.

    Raises:
        UserError: the file is missing or malformed, a key unknown, a value of the wrong type or out of range.
    """
    given = _read(source)
    parsed = [_parse_override(override) for override in overrides]
    for section, name, value in parsed:
        if (section, name) == ("optimizer", "name") and is_foreign({"name": value}):
            given["optimizer"] = {}  # the file's keys were meant for the optimizer that it names
    for section, name, value in parsed:
        table = given.setdefault(section, {})
        if not isinstance(table, dict):
            raise UserError(f"{section} is {table!r} in {source}; it must be a table of keys")
        table[name] = value
    return config_from_dict(given)


def config_from_dict(given: Mapping[str, Any]) -> Config:
    """A checked `Config` of the sections and keys in `given` (see `load_config` for the errors)."""
    sections = {}
    for section_name, table in given.items():
        if section_name not in SECTIONS:
            raise UserError(f"unknown section {section_name!r}{nearest(section_name, SECTIONS)}")
        if not isinstance(table, Mapping):
            raise UserError(f"{section_name} is {table!r}; it must be a table of keys")
        foreign = section_name == "optimizer" and is_foreign(table)
        sections[section_name] = _section(section_name, table, foreign)
    config = Config(**sections, given={name: dict(table) for name, table in given.items()})
    _check_together(config)
    return config


def _read(source: str) -> dict[str, Any]:
    path = Path(source)
    if path.suffix not in (".json", ".toml") and source in preset_names():
        return tomllib.loads(preset_text(source))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = nearest(source, preset_names())
        raise UserError(f"no configuration file or preset is called {source!r}{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read the configuration {source}: {error}; give a JSON or TOML text file"
        ) from None
    try:
        given = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:  # both decoders' errors are ValueErrors
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise UserError(f"{source} is not valid {kind}: {error}; correct it there") from None
    if not isinstance(given, dict):
        raise UserError(
            f"{source} holds {type(given).__name__}, not an object of sections; see `arsbench presets seed`"
        )
    return given


def _parse_override(text: str) -> tuple[str, str, Any]:
    path, equals, value = text.partition("=")
    section, dot, name = path.strip().partition(".")
    if not (equals and dot and section and name):
        raise UserError(f"--set {text!r} is not of the form section.key=value, such as train.epochs=1")
    try:
        return section, name, json.loads(value)
    except ValueError:  # no JSON, or a number of thousands of digits
        return section, name, value


def _section(section: str, table: Mapping[str, Any], foreign: bool) -> Any:
    section_type = SECTIONS[section]
    types_of = typing.get_type_hints(section_type)
    known = {f.name: f for f in fields(section_type)}
    if foreign:  # another package's keys mean what that package says, whatever ours of that name mean
        known = {name: entry for name, entry in known.items() if name == "name" or name.startswith("adam_")}
    values = {}
    for name, value in table.items():
        if name in known:
            values[name] = _checked(f"{section}.{name}", value, types_of[name], known[name].metadata)
        elif not foreign:
            raise UserError(f"unknown key {section}.{name}{nearest(name, known, prefix=section + '.')}")
    return section_type(**values)


def _checked(name: str, value: Any, wanted: Any, limits: Mapping[str, Any]) -> Any:
    """`value` as the type `wanted` (whole numbers become floats), inside its limits."""
    options = typing.get_args(wanted) if isinstance(wanted, types.UnionType) else (wanted,)
    if value is None and type(None) in options:
        return None
    base = options[0]
    if typing.get_origin(base) is list:
        element = typing.get_args(base)[0]
        if not isinstance(value, list) or not value:
            raise UserError(f"{name} is {value!r}; it must be a list of {_called(element)}")
        if element is float and len(value) != 2:
            raise UserError(f"{name} is {value!r}; it must be a list of two numbers")
        return [_checked(name, item, element, limits) for item in value]
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if type(value) is not base or (base is float and not math.isfinite(value)):
        raise UserError(f"{name} is {value!r}; it must be {_called(base)}")
    for limit, holds, words in (
        ("minimum", lambda bound: value >= bound, "at least {}"),
        ("maximum", lambda bound: value <= bound, "at most {}"),
        ("above", lambda bound: value > bound, "above {}"),
        ("below", lambda bound: value < bound, "below {}"),
        ("choices", lambda bound: value in bound, "one of {}"),
    ):
        if limit in limits and not holds(limits[limit]):
            bound = ", ".join(limits[limit]) if limit == "choices" else limits[limit]
            raise UserError(f"{name} is {value!r}; it must be {words.format(bound)}")
    return value


def _check_together(config: Config) -> None:
    """What one key alone cannot tell."""
    if len(config.experiment.tasks) != 1:
        raise UserError(
            f"experiment.tasks is {config.experiment.tasks}; name one task, and start one run a task"
        )
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
