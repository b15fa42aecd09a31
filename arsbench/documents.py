"""JSON and TOML from outside: parsed, or refused for content that nothing else here could handle.

Python's own parsers accept a JSON object with one key twice, lone surrogates, and numbers too long to be
printed; on deeply nested content they raise RecursionError.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from arsbench.errors import UserError
from arsbench.files import read_text

MAX_DEPTH = 100  # our documents need less than ten
MAX_BYTES = 2**20  # of a configuration or a suite file
MAX_BITS = 8192  # of a whole number: Python prints up to 4300 digits
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


class StructureError(ValueError):
    """The text is well-formed but refused: nested too deeply, a key twice, a value that cannot be written."""


def read_document(path: Path, kind: Literal["JSON", "TOML"], purpose: str, missing: str) -> Any:
    """The content of a file that a user wrote.

    Args:
        path: the file.
        kind: its language.
        purpose: its name in messages, "configuration" or "suite".
        missing: the message where there is no such file.

    Raises:
        UserError: it is missing, cannot be read, is not of the kind, or is refused (see `StructureError`).
    """
    kinds = "TOML" if kind == "TOML" else "JSON or TOML"  # only a configuration may be JSON
    text = read_text(path, purpose, f"give a {kinds} text file", limit=MAX_BYTES, missing=missing)
    try:
        return parse_toml(text) if kind == "TOML" else parse_json(text)
    except StructureError as error:
        raise UserError(f"{path} is refused: {error}; correct it there") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid {kind}: {error}; correct it there") from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: the text is not JSON, or is refused (`StructureError`, a subclass).
    """
    return _checked(lambda: json.loads(text, object_pairs_hook=_unique))


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: the text is not TOML, or is refused (`StructureError`, a subclass).
    """
    return _checked(lambda: tomllib.loads(text))


def check_content(content: Any) -> None:
    """Refuse a value that could not be written, printed or traversed later.

    Raises:
        StructureError: it is nested too deeply, a text has a lone surrogate (the form that bytes of a command
            line that are not UTF-8 take), or a whole number is too long to be printed.
    """
    # Level by level: recursion would fail on deeply nested content.
    level = [content]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value, *value.values()]
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
    raise StructureError(_TOO_DEEP)


def _checked(parse: Callable[[], Any]) -> Any:
    try:
        content = parse()
    except RecursionError:
        raise StructureError(_TOO_DEEP) from None
    check_content(content)
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise StructureError(f"the key {max(keys, key=keys.count)!r} appears twice in one object")
    return content
