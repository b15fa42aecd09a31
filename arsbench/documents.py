"""JSON and TOML from outside: parsed, or refused for content that nothing else here could handle.

Python's own parsers accept a key that appears twice in a JSON object, a lone surrogate, and numbers too long
to be printed; on deeply nested content they fail with a RecursionError.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from arsbench.errors import UserError
from arsbench.files import read_text

MAX_DEPTH = 100  # no document of ours needs ten
MAX_BYTES = 2**20  # of a configuration or a suite
MAX_BITS = 8192  # of a whole number: Python prints up to 4300 digits


class StructureError(ValueError):
    """The text is well-formed but refused: nested too deeply, a key twice, a value that cannot be written."""


def read_document(path: Path, kind: Literal["JSON", "TOML"], what: str, missing: str) -> Any:
    """The content of a file that a user wrote.

    Args:
        path: the file.
        kind: what it is written in.
        what: "configuration" or "suite", for messages.
        missing: the message where there is no such file.

    Raises:
        UserError: it is missing, cannot be read, or is not of the kind, or is refused (see `StructureError`).
    """
    kinds = "TOML" if kind == "TOML" else "JSON or TOML"  # nothing but a configuration may be JSON
    text = read_text(path, what, f"give a {kinds} text file", limit=MAX_BYTES, missing=missing)
    try:
        return parse_toml(text) if kind == "TOML" else parse_json(text)
    except StructureError as error:
        raise UserError(f"{path} is refused: {error}; correct it there") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid {kind}: {error}; correct it there") from None


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON text holds.

    Raises:
        ValueError: the text is not JSON. `StructureError`, a subclass: it is, and is refused all the same.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise _too_deep() from None
    check_content(content)
    return content


def parse_json_prefix(text: str) -> tuple[Any, int]:
    """The value of the JSON that `text` begins with, and the index at which that JSON ends.

    Raises:
        ValueError: as of `parse_json`.
    """
    try:
        content, end = json.JSONDecoder(object_pairs_hook=_unique).raw_decode(text)
    except RecursionError:
        raise _too_deep() from None
    check_content(content)
    return content, end


def parse_toml(text: str) -> dict[str, Any]:
    """The table that a TOML text holds.

    Raises:
        ValueError: the text is not TOML. `StructureError`, a subclass: it is, and is refused all the same.
    """
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise _too_deep() from None
    check_content(content)
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise StructureError(f"the key {twice!r} appears twice in one object")
    return content


def check_content(content: Any) -> None:
    """Refuse what could not be written, printed or walked through again.

    Raises:
        StructureError: it is nested too deeply, a text has a lone surrogate (which bytes of a command line
            that are not UTF-8 become), or a whole number is too long to be printed.
    """
    # Level by level: a recursive walk would fail where the content is nested deeply.
    level = [content]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str):
                if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                    raise StructureError(f"the text {value!r} holds a lone surrogate")
            elif isinstance(value, int) and value.bit_length() > MAX_BITS:
                raise StructureError(f"a whole number has more than {MAX_BITS} bits")
        if not inner:
            return
        level = inner
    raise _too_deep()


def _too_deep() -> StructureError:
    return StructureError(f"it is nested more than {MAX_DEPTH} levels deep")
