"""From a file or a preset, with overrides, to a checked `Config`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from arsbench.config.checking import config_from_dict
from arsbench.config.hyperparameters import BUILT_IN, check_named_keys
from arsbench.config.schema import Config, OptimizerConfig
from arsbench.documents import StructureError, check_content, parse_json, parse_toml, read_document
from arsbench.errors import UserError, nearest, shown
from arsbench.metrics import task_name

PRESETS = resources.files("arsbench.config") / "presets"

_TEXT = {"source": "auto", "path": None, "train_file": None, "validation_file": None, "test_file": None}


def preset_names(folder: Traversable | None = None) -> list[str]:
    """Names of the TOML files that ship in a folder, by default the configurations."""
    entries = (folder or PRESETS).iterdir()
    return sorted(Path(entry.name).stem for entry in entries if entry.name.endswith(".toml"))


def preset_text(name: str, folder: Traversable | None = None) -> str:
    """The TOML of a preset as it ships.

    Raises:
        UserError: the folder has no preset of that name.
    """
    if name not in preset_names(folder):
        raise UserError(f"there is no preset {name!r}{nearest(name, preset_names(folder))}")
    return ((folder or PRESETS) / f"{name}.toml").read_text(encoding="utf-8")


def load_config(
    source: str,
    overrides: Iterable[str] = (),
    warn: Callable[[str], None] = lambda text: None,
    begun: Mapping[str, Any] | None = None,
) -> Config:
    """Read a configuration.

    Args:
        source: path of a .json or .toml file, or the name of a preset.
        overrides: `section.key=value` strings; a value that is valid JSON is read as JSON, any other as a
            string. An override of `optimizer.name` with a different optimizer than the file's drops the
            file's other keys of the section `optimizer`; a built-in optimizer then starts from the defaults
            of its constructor.
        warn: called with a sentence if keys of the file are dropped.
        begun: the stored configuration of a run to resume. An older version kept the file's keys whatever
            optimizer the overrides named; a run started in that way is resumed in that way.

    Raises:
        UserError: the file is missing or malformed, a key is unknown, a value has the wrong type or is out of
            range, or an override sets a key that the optimizer does not have.
    """
    given = _read(source)
    parsed = [_parse_override(override) for override in overrides]
    named = {name: value for section, name, value in parsed if section == "optimizer"}
    table = given.get("optimizer", {})
    kept = begun is not None and isinstance(table, dict) and begun.get("optimizer") == table | named
    if named and isinstance(table, dict) and not kept:
        given["optimizer"] = _table_for(named, table, source, warn)
    file_data = deepcopy(given.get("data", {}))
    for section, name, value in parsed:
        table = given.setdefault(section, {})
        if not isinstance(table, dict):
            raise UserError(f"{section} is {shown(table)} in {source}; it must be a table of keys")
        table[name] = value
    config = config_from_dict(given)
    # A run that an older version began under the file's label keeps it.
    tasks = given.get("experiment", {}).get("tasks")
    old_label = begun is not None and begun.get("experiment", {}).get("tasks") == tasks
    if not old_label and ("experiment", "tasks") not in {(section, name) for section, name, _ in parsed}:
        task = follow_source(config.task, file_data, given.get("data", {}))
        if task != config.task:
            given.setdefault("experiment", {})["tasks"] = [task]
            config = config_from_dict(given)
    if not kept:
        check_named_keys(config.optimizer.name, named)
    return config


def follow_source(task: str, before: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The task of a configuration, with the label of the text that changes chose instead of the file's text.

    Args:
        task: with the file's label, if it has one, as in `wikitext2_line (pydocs)`.
        before: the file's section `data`.
        data: the same with the changes.

    Returns:
        `task` itself if the text is the file's. A path for a file that names none only says where it lies.
    """
    was, now = (_TEXT | {key: table[key] for key in _TEXT.keys() & table} for table in (before, data))
    if was["path"] is None and was["source"] == now["source"]:
        was["path"] = now["path"]
    name = task_name(task)
    if was == now or name != "wikitext2_line":
        return task
    source, path = now.pop("source"), now["path"]
    if source == "pydocs":
        return f"{name} (pydocs)"
    if source == "hub" or (source == "auto" and not any(now.values())):
        return name  # WikiText-2
    folder = path and (Path(str(path)).name or Path(str(path)).resolve().name)
    return f"{name} (files: {re.sub('[()|]', '', folder)})" if folder else f"{name} (files)"


def _table_for(
    named: dict[str, Any], table: dict[str, Any], source: str, warn: Callable[[str], None]
) -> dict[str, Any]:
    """The file's section `optimizer`, or a new one if an override names a different optimizer."""
    before = table.get("name", OptimizerConfig.name)
    name = named.get("name", before)
    if name == before:
        return table
    # Stored explicitly, since the defaults of a configuration's keys are those of ARS.
    defaults = BUILT_IN.get(name, {}) if isinstance(name, str) else {}
    values = ", ".join(f"{key} {json.dumps(value)}" for key, value in defaults.items())
    warn(
        f"optimizer.name is {name}; the hyperparameters in {source} are for {before} and are dropped; {name} "
        f"starts from its defaults{values and f': {values}'}"
    )
    return {"name": name, **deepcopy(defaults)}


def _read(source: str) -> dict[str, Any]:
    path = Path(source)
    if path.suffix not in (".json", ".toml") and source in preset_names():
        return parse_toml(preset_text(source))
    given = read_document(
        path,
        "TOML" if path.suffix == ".toml" else "JSON",
        "configuration",
        missing=f"there is no configuration file or preset {shown(source)}{nearest(source, preset_names())}",
    )
    if not isinstance(given, dict):
        raise UserError(
            f"{source} holds a {type(given).__name__}; it must be an object of sections, as in "
            f"`arsbench presets seed`"
        )
    return given


def _parse_override(text: str) -> tuple[str, str, Any]:
    path, equals, value = text.partition("=")
    section, dot, name = path.strip().partition(".")
    if not (equals and dot and section and name):
        raise UserError(f"--set {shown(text)} must have the form section.key=value, such as train.epochs=1")
    try:
        check_content(text)
        return section, name, parse_json(value)
    except StructureError as error:
        raise UserError(f"--set {shown(text)} is refused: {error}; correct the value") from None
    except ValueError:  # no JSON, or a number of thousands of digits
        return section, name, value
