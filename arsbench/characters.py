"""Characters that act on the program that shows them: line breaks, escape sequences, changes of direction."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, marks that change the direction of text, and lone
# surrogates, which no UTF-8 file can hold.
ACTING = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_ACTING = re.compile(ACTING)


def printable(text: str) -> str:
    r"""`text` on one line, safe for a terminal: a character that would act becomes `\x1b` and the like."""
    return _ACTING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
