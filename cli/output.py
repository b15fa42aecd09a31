"""Standard output and standard error that outlive their readers, such as `head`."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class OutputError(OSError):
    """Standard output cannot be written: its reader has gone, or the disk is full."""


class _Output(io.FileIO):
    """A writer to an open descriptor, which stays open when this object is closed.

    Attributes:
        lasting: whether output that cannot be written is dropped; otherwise it raises `OutputError`.
    """

    def __init__(self, descriptor: int, *, lasting: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.lasting = lasting

    def write(self, data: bytes) -> int:
        """As `io.FileIO.write`."""
        try:
            return super().write(data)
        except OSError as error:
            if not self.lasting:
                raise OutputError(error.errno, error.strerror) from error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(data)


def guard_output() -> None:
    """Make a failed write to standard output an `OutputError`, and ignore one to standard error.

    A closed standard stream becomes the null device; otherwise the next opened file would take its place.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # opens the lowest free descriptor
    sys.stdout = _guarded(sys.stdout, 1, lasting=False)
    sys.stderr = _guarded(sys.stderr, 2, lasting=True)


def drop_lost_output() -> None:
    """From here on, drop standard output that cannot be written instead of failing."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Output):
        raw.lasting = True


def _guarded(stream: TextIO | None, descriptor: int, *, lasting: bool) -> TextIO:
    if stream is not None:
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):  # a stream in memory, as in tests
            return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(descriptor, lasting=lasting)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors=getattr(stream, "errors", "replace"),
        line_buffering=getattr(stream, "line_buffering", True),
        write_through=getattr(stream, "write_through", False),
    )
