"""The one exception that a user's mistake becomes, and what may have been meant."""

import difflib
import re
from collections.abc import Iterable
from typing import Any

# Control characters, Unicode's line and paragraph separators, and lone surrogates, which UTF-8 cannot
# write.
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LONGEST_SHOWN = 120


class UserError(Exception):
    """Something that the user can put right.

    The message is one sentence that names the thing, the value and the remedy. The command line prints it
    without a traceback and exits with code 2.
    """


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The end of a sentence about an unknown name: which is likely meant, or else which there are.

    Args:
        name: as the user wrote it, without `prefix`.
        known: those that there are.
        prefix: what each of them is shown with, such as its section.
    """
    known = list(known)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if match:
        return f"; did you mean {prefix + match[0]!r}?"
    return f"; known are {', '.join(prefix + other for other in known)}" if known else ""


def shown(value: Any) -> str:
    """A value as messages show it: its repr, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or content nested deeply
        text = f"<{type(value).__name__} too long to be shown>"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]} ..."


def require_line(name: str, text: str) -> None:
    """Refuse a text that does not fit into a line of a report, a terminal or a path.

    Args:
        name: what the text is, for the message.
        text: the text.

    Raises:
        UserError: it has a line break, another control character or a lone surrogate.
    """
    match = _NOT_IN_A_LINE.search(text)
    if match:
        raise UserError(
            f"{name} is {shown(text)}; it must be one line of ordinary characters, without {match[0]!r}"
        )
    if text in ("NaN", "Infinity", "-Infinity"):  # which stored JSON holds in place of such numbers
        raise UserError(f"{name} is {shown(text)}; it must be another word than that of a number")
