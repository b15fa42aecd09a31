"""Writing files atomically, and reading files that users name, which may be anything."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from arsbench.errors import UserError

_LONGEST_NAME = 300  # characters of a name in a message
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO]:
    """Open a temporary file beside `path`; on success, sync it to disk and rename it to `path`.

    On failure, `path` keeps its content and the temporary file is removed.

    Args:
        path: the file to write; missing parent directories are made.
        mode: "w" (UTF-8 text) or "wb".

    Raises:
        UserError: the directory cannot be written to, or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; a run's files are as readable as the owner's other files.
            umask = os.umask(0)  # the only way to read it
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another place"
        ) from error


def read_regular(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """The content of a file that a user named, of at most `limit` bytes.

    Raises:
        OSError: the file cannot be read, is larger than `limit`, or is not a regular file: reading a pipe or
            a device might never end.
    """
    _require_regular(path)
    with open(path, "rb") as file:
        content = file.read(-1 if limit is None else limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit / 2**20:g} MiB", path)
    return content


def read_text(
    path: str | os.PathLike[str], purpose: str, remedy: str, *, limit: int, missing: str | None = None
) -> str:
    """The text of a UTF-8 file that a user named, with line ends `\\n` and without a byte order mark.

    Args:
        path: the file.
        purpose: its name in messages, such as "report".
        remedy: what to give instead, such as "give a report in Markdown", for messages.
        limit: its largest size in bytes.
        missing: the message where there is no such file; None for a message like the others.

    Raises:
        UserError: the file is missing, cannot be read, is not a regular file, is too large, or is not UTF-8.
    """
    name = os.fspath(path)
    name = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]} ..."
    try:
        text = read_regular(path, limit).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8 text (byte {error.start})"
    except OSError as error:
        if missing is not None and isinstance(error, FileNotFoundError):
            raise UserError(missing) from None
        problem = error.strerror or str(error)
    raise UserError(f"cannot read the {purpose} {name}: {problem}; {remedy}")


def abandoned_temporaries(directory: Path, names: Iterable[str]) -> list[Path]:
    """The temporary files that killed processes left in a directory while writing the files `names`.

    Another process must not be writing these files now.
    """
    pattern = re.compile(rf"\.({'|'.join(map(re.escape, names))})\.\w{{8}}")
    return [path for path in directory.iterdir() if pattern.fullmatch(path.name)]


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make renames in the directory `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of a file's bytes.

    Raises:
        OSError: as `read_regular`.
    """
    _require_regular(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_regular(path: str | os.PathLike[str]) -> None:
    if "\0" in os.fspath(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'special')}, not a regular file", path)
