"""Escaping plain text in Markdown, tables of such text, and the reverse.

Names, labels, messages and settings come from users and from other people's files: nothing in them may become
a link, a picture, HTML, another cell or another line. Characters that CommonMark 0.31 or GitHub's extensions
would read as markup are escaped; other text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from arsbench.errors import ACTING

_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_MARKUP = re.compile(
    rf"""
    (?P<numbers>(?<=.)\[[-+0-9.eE,\ ]*\](?![(\[]))    # a list of numbers inside a text is no link
    | (?P<reference>{ACTING} | ^[ ] | [ ]$)            # parsers of tables drop outer blanks
    | [`*~#$\[\]]
    | \\(?={_PUNCTUATION}|{ACTING}|[ ]?$)
    | <(?=[A-Za-z/!?]|$)                               # a tag or an address, not "less than"
    | &(?=[A-Za-z#]|$)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(rf"\\({_PUNCTUATION})|&#([0-9]{{1,7}});")


def escape(text: str) -> str:
    """`text` as Markdown that shows it inside a line."""
    return _MARKUP.sub(_escaped, text)


def unescape(markdown: str) -> str:
    """The text that `escape` turned into `markdown`."""
    return _ESCAPED.sub(_unescaped, markdown)


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of plain texts, headers first, as lines of Markdown."""
    return rows_of_markdown(cells_of(rows))


def cells_of(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Plain texts as escaped cells of a table."""
    return [[escape(text).replace("|", r"\|") for text in row] for row in rows]


def rows_of_markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of escaped cells, headers first, as lines of Markdown."""
    # The rule of the reference format is as wide as the headers with the blanks around them.
    rule = "|" + "|".join("-" * (len(name) + 2) for name in rows[0]) + "|"
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return [lines[0], rule, *lines[1:]]


def row_cells(line: str) -> list[str]:
    """The plain texts of the cells of a table's line.

    Raises:
        ValueError: the line does not begin and end with a bar.
    """
    if len(line) < 2 or not (line.startswith("|") and line.endswith("|")):
        raise ValueError("a row of a table begins and ends with '|'")
    return [unescape(cell.strip()) for cell in re.split(r"(?<!\\)\|", line[1:-1])]


def _escaped(match: re.Match[str]) -> str:
    if match["numbers"]:
        return match[0]
    return f"&#{ord(match[0])};" if match["reference"] else f"\\{match[0]}"


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    return chr(int(match[2])) if int(match[2]) <= 0x10FFFF else match[0]
