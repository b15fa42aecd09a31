"""The lock of a folder that one process at a time writes to: a run's or a suite's.

The lock is the operating system's (`flock` on the file `.lock` in the folder), so that a dead process holds
none. What the file says serves people alone: who holds the lock.
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

# `is_locked` takes the lock for a moment, too.
PATIENCE_S = 1.0


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of the folder."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks, which `locked` refuses
        return False
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock of a folder, which must exist.

    Yields:
        its descriptor; a process that inherits it holds the lock too.

    Raises:
        UserError: another process holds it (the message says which), the folder cannot be written to, or its
            file system has no locks.
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
    """Make and lock a folder, and take away what was made if nothing has begun in it by the end.

    Args:
        path: the folder; missing parents are made too.
        beginning: the file that says that something has begun.
        made: whether to remove the folder too where nothing has begun.

    Yields:
        as `locked`.

    Raises:
        UserError: as `locked`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(_unwritable(path, error)) from error
    try:
        with locked(path) as descriptor:
            try:
                yield descriptor
            finally:
                if not (path / beginning).exists():
                    (path / LOCK).unlink(missing_ok=True)
    finally:
        if made:
            with contextlib.suppress(OSError):  # it is not empty: something has begun
                path.rmdir()


def _acquire(path: Path) -> int:
    """A descriptor of the lock file that holds the lock."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(_unwritable(path, error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file, and a third process made another one.
            if os.path.samestat(os.fstat(descriptor), os.stat(path / LOCK)):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError as error:
            os.close(descriptor)
            raise UserError(
                f"the file system of {path} has no file locks ({error.strerror}), which keep two processes "
                f"from writing there at once; choose a folder on another file system with --out"
            ) from error
        os.close(descriptor)
        if time.monotonic() > until:
            raise UserError(
                f"another process{_holder(path)} is writing to {path}; wait until it ends, or choose another "
                f"folder with --out"
            )
        time.sleep(PATIENCE_S / 20)


def _write_holder(descriptor: int) -> None:
    since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)


def _holder(path: Path) -> str:
    """Who holds the lock, in brackets; nothing where the file does not say."""
    try:
        holder = json.loads((path / LOCK).read_text(encoding="utf-8"))
        return f" (pid {holder['pid']} on {holder['host']}, since {holder['since']})"
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _unwritable(path: Path, error: OSError) -> str:
    return f"cannot write to {path}: {error.strerror}; choose another folder with --out"
