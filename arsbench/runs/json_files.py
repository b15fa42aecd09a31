"""JSON on disk: whole documents, and files of one record a line that survive a crash.

JSON has no word for NaN and the infinities, and a diverged run has them. They are stored as the strings
"NaN", "Infinity" and "-Infinity" (the spelling of Protocol Buffers' JSON mapping), so that any JSON reader
accepts the files, and come back as floats.
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
    """A file of one JSON object a line, which only grows but for `truncate`.

    A process killed in the middle of a line leaves a torn last line, which is no record: reading ignores it,
    the next append cuts it off.

    Args:
        path: the file; `append` needs it to exist.
        check: what is wrong with a line's record after the one before it, or None.
    """

    def __init__(self, path: Path, check: Callable[[Any, Any], str | None] | None = None) -> None:
        self.path = path
        self._check = check

    def records(self) -> list[dict[str, Any]]:
        """Every complete line, in order.

        Raises:
            UserError: a complete line is damaged; the message names file and line.
        """
        return [record for _, record in self._lines()]

    def count(self) -> int:
        """The number of complete lines."""
        return _read(self.path).count(b"\n")

    def append(self, record: dict[str, Any]) -> None:
        """Add a line, which then survives a power cut.

        Args:
            record: plain JSON types, or tuples, or non-finite floats.

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
        """Each complete line, as written and as a record."""
        *complete, _torn = _read(self.path).split(b"\n")
        before = None
        for number, line in enumerate(complete, start=1):
            where = f"{self.path}, line {number},"
            record = _parse(line, dict, where)
            problem = self._check and self._check(record, before)
            if problem is not None:
                raise UserError(f"{where} is damaged: {problem}; restore the file")
            yield line, record
            before = record


def drop_torn_line(path: Path) -> None:
    """Cut off what follows the last newline of a file, if it is there: a line that was never finished."""
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
        content = _decode(parse_json(text))
    except StructureError as error:
        raise UserError(f"{where} is damaged: {error}; restore the file") from error
    except ValueError as error:
        raise UserError(f"{where} is damaged: it is not JSON ({error}); restore the file") from error
    if not isinstance(content, kind):
        wanted = "an object" if kind is dict else "a list"
        raise UserError(f"{where} is damaged: it is JSON but not {wanted}; restore the file")
    return content


def encode(value: Any) -> Any:
    """`value` in a form that any JSON reader takes: NaN and the infinities as strings."""
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    return value
