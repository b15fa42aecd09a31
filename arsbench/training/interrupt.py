"""Ctrl-C that waits for the end of the step."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interrupted(Exception):
    """The user asked to stop while something was running that is simply done again on resume."""


class InterruptGuard:
    """Turns SIGINT into a request that the training loop reads between steps; a second one stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self._raise = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle SIGINT inside the block (from the main thread; elsewhere signals cannot be handled)."""
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
