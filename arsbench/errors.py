"""The one exception that a user's mistake becomes, and what may have been meant."""

import difflib
from collections.abc import Iterable


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
