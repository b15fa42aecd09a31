"""JSON on disk: documents, and files of one record a line that survive a crash.

JSON cannot express NaN and the infinities, which a diverged run has. They are stored as the strings "NaN",
"Infinity" and "-Infinity" (as in Protocol Buffers' JSON mapping), so that any JSON reader accepts the files.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from arsbench.documents import StructureError, parse_json
from arsbench.errors import UserError
from arsbench.files import atomic_write, read_regular

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_BLOCK = 1 << 16


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Replace the document at `path` atomically.

    Raises:
        UserError: it cannot be written.
    """
    with atomic_write(path) as file:
        file.write(json.dumps(encode(content), indent=2, allow_nan=False) + "\n")


def read_json(path: Path, kind: type) -> Any:
    """The document at `path`, which must be of type `kind` (dict or list).

    Raises:
        UserError: it cannot be read, or is damaged; the message names the file.
    """
    return _parse(_read(path), kind, str(path))


class JsonLines:
    """A file of one JSON object a line, to which lines are appended.

    A process that is killed while it writes a line leaves an incomplete last line. It is no record: reading
    ignores it, and the next append cuts it off.

    Args:
        path: the file; `append` needs it to exist.
        check: returns what is wrong with a record after the one before it, or None (`checks.LineCheck`).
    """

    def __init__(self, path: Path, check: Callable[[Any, Any, str], str | None] | None = None) -> None:
        self.path = path
        self._check = check

    def records(self) -> list[dict[str, Any]]:
        """The records of all complete lines, in order.

        Raises:
            UserError: a complete line is damaged; the message names file and line.
        """
        return [record for _, record in self._lines()]

    def count(self) -> int:
        """The number of complete lines."""
        return _read(self.path).count(b"\n")

    def append(self, record: dict[str, Any]) -> None:
        """Add a line; it survives a power cut.

        Args:
            record: plain JSON types, tuples, and floats that may be NaN or infinite.

        Raises:
            UserError: the line cannot be written.
        """
        line = json.dumps(encode(record), allow_nan=False).encode() + b"\n"
        try:
            with self.path.open("r+b") as file:
                end = _complete_length(file)
                if end < file.seek(0, os.SEEK_END):
                    file.truncate(end)
                file.seek(end)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror or error}; free some space, then resume the run"
            ) from error

    def truncate(self, step: int) -> None:
        """Drop, atomically, every record whose "step" is greater than `step`."""
        kept = [line for line, record in self._lines() if record.get("step", 0) <= step]
        with atomic_write(self.path, "wb") as file:
            file.writelines(line + b"\n" for line in kept)

    def _lines(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Each complete line, with its record."""
        *complete, _incomplete = _read(self.path).split(b"\n")
        before = None
        for number, line in enumerate(complete, start=1):
            where = f"{self.path}, line {number},"
            record = _parse(line, dict, where)
            problem = self._check and self._check(record, before, "")
            if problem is not None:
                raise UserError(f"{where} is damaged: {problem}; restore the file")
            yield line, record
            before = record


def drop_torn_line(path: Path) -> None:
    """Cut an incomplete last line off a file; nothing happens without a file."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        file.truncate(_complete_length(file))


def _complete_length(file: BinaryIO) -> int:
    """Number of bytes up to and including the last newline, searched from the end."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; make it readable again") from error


def _parse(text: bytes, kind: type, where: str) -> Any:
    try:
        content = decode(parse_json(text))
    except ValueError as error:
        problem = error if isinstance(error, StructureError) else f"it is not JSON ({error})"
    else:
        if isinstance(content, kind):
            return content
        problem = f"it is JSON but not {'an object' if kind is dict else 'a list'}"
    raise UserError(f"{where} is damaged: {problem}; restore the file")


def encode(value: Any) -> Any:
    """`value` in a form that any JSON reader accepts: NaN and the infinities as strings, tuples as lists."""
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def decode(value: Any) -> Any:
    """The value of which `encode` made `value`."""
    if isinstance(value, dict):
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value
