"""The exception for mistakes that the user can correct, parts of its messages, and text safe to show."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

# Control characters, Unicode's line and paragraph separators, and lone surrogates, which UTF-8 cannot write.
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Characters that act on the program that shows them: C0 and C1 controls, line and paragraph separators, marks
# that change the direction of text, and lone surrogates, which no UTF-8 file can hold.
ACTING = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_ACTING = re.compile(ACTING)
_LONGEST_SHOWN = 120

INTERRUPTED = 130  # the exit code that a shell reports of a program ended by SIGINT


class UserError(Exception):
    """A mistake that the user can correct.

    The message is one sentence that names the thing, the value and the remedy. The command line prints it
    without a traceback and exits with code 2.
    """


def nearest(name: str, names: Iterable[str], prefix: str = "") -> str:
    """The end of a sentence about an unknown name: the name that was probably meant, or else all names.

    Args:
        name: as the user wrote it, without `prefix`.
        names: all that exist.
        prefix: what each of them is shown with, such as its section.
    """
    names = list(names)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if match:
        return f"; did you mean {prefix + match[0]!r}?"
    return f"; choose one of {', '.join(prefix + other for other in names)}" if names else ""


def shown(value: Any) -> str:
    """A value in a message: its repr, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or deeply nested content
        text = f"<{type(value).__name__} too long to be shown>"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ..."


def require_line(name: str, text: str) -> None:
    """Refuse a text, `name` in messages, that does not fit into a line of a report, a terminal or a path.

    Raises:
        UserError: it has a line break, another control character or a lone surrogate, or is a word that
            stands for a number in stored JSON.
    """
    match = _NOT_IN_A_LINE.search(text)
    if match:
        raise UserError(
            f"{name} is {shown(text)}; it must be one line of ordinary characters, without {match[0]!r}"
        )
    if text in ("NaN", "Infinity", "-Infinity"):
        raise UserError(f"{name} is {shown(text)}; it must not be a word that stands for a number")


def printable(text: str) -> str:
    r"""`text` on one line, safe for a terminal: a character that would act becomes `\x1b` and the like."""
    return _ACTING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
