"""The label of the text behind a task's name, as in `wikitext2_line (pydocs)`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arsbench.metrics import task_name

_DEFAULTS = {"source": "auto", "path": None, "train_file": None, "validation_file": None, "test_file": None}


def follow_source(task: str, before: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """The task of a file, with the label of the text that overrides chose instead of the file's text.

    Args:
        task: with the file's label, if it has one.
        before: the file's section `data`.
        data: the same with the overrides, checked.

    Returns:
        `task` itself if the text is the file's. A path for a file that names none only says where it lies.
    """
    was, now = (_DEFAULTS | {key: table[key] for key in _DEFAULTS.keys() & table} for table in (before, data))
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
    folder = path and (Path(path).name or Path(path).resolve().name)
    return f"{name} (files: {re.sub('[()|]', '', folder)})" if folder else f"{name} (files)"
