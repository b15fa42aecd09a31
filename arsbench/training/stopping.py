"""How training stops before its end: Ctrl-C, and the failure of a run."""

from __future__ import annotations

import contextlib
import signal
import textwrap
import threading
import traceback
from collections.abc import Iterator

from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder

_LONGEST = 500


class Interrupted(Exception):
    """Ctrl-C stopped the training loop; a resumed run repeats what was cut short."""


class InterruptGuard:
    """Turns SIGINT into a request that the training loop checks between steps; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._raise = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGINT inside the block; only in the main thread, since Python allows it nowhere else."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside the block a first SIGINT raises `Interrupted` instead of waiting."""
        if self.requested:
            raise Interrupted
        self._raise = True
        try:
            yield
        finally:
            self._raise = False

    def _handle(self, signum: int, frame: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._raise:
            raise Interrupted


def describe_failure(error: BaseException) -> str:
    """An exception in one line: its type, its message (about 500 characters at most), file and line."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped at once by Ctrl-C"
    text = "".join(traceback.format_exception_only(error))
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return _printable(textwrap.shorten(text, _LONGEST, placeholder=" ...") + where)


def record_failure(run: RunFolder, step: int, error: BaseException, diverged_at: int | None) -> None:
    """Put a run into the state "failed"; any error but `UserError` and Ctrl-C also leaves a traceback.

    A write that fails is skipped: a full disk may be why the run failed. `step` is the last one taken, and
    `diverged_at` the one at which the run diverged, if it did.
    """
    if not isinstance(error, UserError | KeyboardInterrupt):
        with contextlib.suppress(UserError, MemoryError):
            run.write_traceback(_printable("".join(traceback.format_exception(error))))
    with contextlib.suppress(UserError, MemoryError):
        run.set_status("failed", step, describe_failure(error), diverged_at=diverged_at)


def _printable(text: str) -> str:
    """The text with lone surrogates escaped, which UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode()
