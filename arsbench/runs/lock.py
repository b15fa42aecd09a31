"""The lock of a run's or a suite's folder, which one process at a time may write to.

The operating system keeps the lock (`flock` on the file `.lock` in the folder); a dead process holds none.
The content of the file is for people: it names the process that holds the lock.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from arsbench.errors import UserError

LOCK = ".lock"

PATIENCE_S = 1.0  # longer than the moment for which `is_locked` holds the lock


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of the folder."""
    try:
        with (path / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or a file system without locks, which `locked` refuses
        pass
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock of a folder, which must exist.

    Yields:
        its descriptor; a process that inherits it holds the lock too.

    Raises:
        UserError: another process holds it (the message says which one), the folder cannot be written to, or
            its file system has no locks.
    """
    descriptor = _acquire(path)
    try:
        _write_holder(descriptor)
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


@contextlib.contextmanager
def claimed(path: Path, beginning: str, *, made: bool) -> Iterator[int]:
    """Make and lock a folder; remove the lock file, and the folder, if nothing was begun in it.

    Args:
        path: the folder; missing parents are made too.
        beginning: the file that exists once something was begun.
        made: whether to remove the folder too.

    Yields:
        as `locked`.

    Raises:
        UserError: as `locked`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with locked(path) as descriptor:
            try:
                yield descriptor
            finally:
                if not (path / beginning).exists():
                    (path / LOCK).unlink(missing_ok=True)
    finally:
        if made:
            with contextlib.suppress(OSError):  # it is not empty: something was begun
                path.rmdir()


def _acquire(path: Path) -> int:
    """A descriptor of the lock file that holds the lock."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder may have removed the file, and a third process may have made another one.
            if os.path.samestat(os.fstat(descriptor), os.stat(path / LOCK)):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            os.close(descriptor)
            raise UserError(
                f"the file system of {path} has no file locks ({error.strerror}), which keep two processes "
                f"from writing at once; choose a folder on another file system with --out"
            ) from error
        os.close(descriptor)
        if time.monotonic() > deadline:
            raise UserError(
                f"another process{_holder(path)} is writing to {path}; wait until it ends, or choose another "
                f"folder with --out"
            )
        time.sleep(PATIENCE_S / 20)


def _write_holder(descriptor: int) -> None:
    since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    with contextlib.suppress(OSError):  # the lock holds on a full disk too
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)


def _holder(path: Path) -> str:
    """The process that holds the lock, in brackets; "" where the file does not name it."""
    try:
        holder = json.loads((path / LOCK).read_text(encoding="utf-8"))
        return f" (pid {holder['pid']} on {holder['host']}, since {holder['since']})"
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def unwritable(path: Path, error: OSError) -> UserError:
    """The error for a folder that cannot be made or written to."""
    return UserError(f"cannot write to {path}: {error.strerror or error}; choose another folder with --out")
