"""What is kept of a run whose code raises."""

from __future__ import annotations

import contextlib
import textwrap
import traceback

from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder

_LONGEST = 500


def describe_failure(error: BaseException) -> str:
    """An exception in one line: its type, its message of some 500 characters at most, file and line."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped at once by Ctrl-C"
    what = "".join(traceback.format_exception_only(error))
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return _printable(textwrap.shorten(what, _LONGEST, placeholder=" ...") + where)


def record_failure(run: RunFolder, step: int, error: BaseException, diverged_at: int | None) -> None:
    """Put a run into the state "failed"; what is no `UserError` leaves its traceback in the folder.

    Does what it can: a full disk may be what the run failed of.

    Args:
        run: the run.
        step: the last step that it has taken.
        error: what its code raised.
        diverged_at: the step at which it had diverged.
    """
    if not isinstance(error, UserError | KeyboardInterrupt):
        with contextlib.suppress(UserError, MemoryError):
            run.write_traceback(_printable("".join(traceback.format_exception(error))))
    with contextlib.suppress(UserError, MemoryError):
        run.set_status("failed", step, describe_failure(error), diverged_at=diverged_at)


def _printable(text: str) -> str:
    """Without lone surrogates, which no file takes."""
    return text.encode("utf-8", "backslashreplace").decode()
