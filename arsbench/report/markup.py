"""Plain text as Markdown that shows exactly that text, tables of it, and the way back.

Names, labels, messages and settings come from users and from other people's files: nothing in them may become
a link, a picture, HTML, another cell or another line. What is escaped is what CommonMark 0.31 and GitHub's
extensions would read as markup; text without such characters stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from arsbench.characters import ACTING

_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_MARKUP = re.compile(
    rf"""
    (?P<numbers>(?<=.)\[[-+0-9.eE,\ ]*\](?![(\[]))    # a list of numbers inside a text links to nothing
    | (?P<reference>{ACTING} | ^[ ] | [ ]$)            # readers of tables drop outer blanks
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
    """The text that `escape` was given."""
    return _ESCAPED.sub(_unescaped, markdown)


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of texts, headers first, as lines of Markdown."""
    return rows_of_markdown(cells_of(rows))


def cells_of(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The texts as cells of a table."""
    return [[escape(text).replace("|", r"\|") for text in row] for row in rows]


def rows_of_markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of `cells_of`, headers first, as lines of Markdown."""
    header, *body = rows
    # The seed report's rule is as wide as its headers with the blanks around them.
    rule = "|" + "|".join("-" * (len(name) + 2) for name in header) + "|"
    return [_row_line(header), rule, *map(_row_line, body)]


def row_cells(line: str) -> list[str]:
    """The texts of the cells of a table's line.

    Raises:
        ValueError: it does not begin and end with a bar.
    """
    if len(line) < 2 or not (line.startswith("|") and line.endswith("|")):
        raise ValueError("a row of a table begins and ends with '|'")
    return [unescape(cell.strip()) for cell in re.split(r"(?<!\\)\|", line[1:-1])]


def _row_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(match: re.Match[str]) -> str:
    if match["numbers"]:
        return match[0]
    return f"&#{ord(match[0])};" if match["reference"] else f"\\{match[0]}"


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return match[1]
    return chr(int(match[2])) if int(match[2]) <= 0x10FFFF else match[0]
