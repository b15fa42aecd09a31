"""The lock of a suite's folder, which one process at a time holds, and the processes that inherit it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from arsbench.errors import UserError

LOCK = ".lock"

# `is_locked` holds the lock for a moment, too.
PATIENCE_S = 1.0


def is_locked(path: Path) -> bool:
    """Whether a process is at work in the folder."""
    try:
        descriptor = os.open(path / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock of a folder, which must exist.

    Yields:
        its descriptor; a process that inherits it holds the lock too.

    Raises:
        UserError: another process holds it.
    """
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(
            f"cannot write to {path}: {error.strerror}; choose another folder with --out"
        ) from error
    try:
        if not _obtained(descriptor, path / LOCK):
            raise UserError(
                f"another process is at work in {path}; wait for it, or choose another folder with --out"
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _obtained(descriptor: int, path: Path) -> bool:
    """Whether the file's lock could be had, and the file is still the one at `path`."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > until:
                return False
            time.sleep(PATIENCE_S / 20)
    # Whoever held it before may have taken its new folder away again, lock and all.
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
