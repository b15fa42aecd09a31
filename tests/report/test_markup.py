"""Texts of users in Markdown: they show as they are, do nothing, and come back."""

import html
import random
import re

import pytest

from arsbench.errors import printable
from arsbench.report.markup import escape, row_cells, table_lines, unescape

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![picture](https://example.org/p.png)",
    "[click](javascript:alert(1))",
    "<javascript:alert(1)>",
    "[note]: javascript:alert(1)",
    "[1]: javascript:alert(1)",
    "a | b",
    "`code` ``` ~~~",
    "**bold** ~~gone~~",
    "# heading",
    "&lt;b&gt; &#60; R&D",
    "line\nbreak\r\n\u2028next",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe",
    "back\\slash \\| \\\\ \\* end\\",
    "\\\n",
    " outer blanks ",
    "$x$",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_shows_as_it_is_and_comes_back(text):
    markdown_it = pytest.importorskip("markdown_it")
    line = escape(text)
    assert len(line.splitlines()) == 1
    assert printable(line) == line
    assert unescape(line) == text
    page = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(f"Name: {line}.")
    match = re.fullmatch(r"<p>Name: (.*)\.</p>\n", page, re.DOTALL)
    assert match, page
    assert "<" not in match[1]
    # A page has no control characters but blanks: renderers put U+FFFD in their place.
    assert html.unescape(match[1]) == re.sub("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]", "\ufffd", text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_in_its_cell(text):
    lines = table_lines([["Name", text], [text, "x"]])
    assert len(lines) == 3
    assert row_cells(lines[0]) == ["Name", text]
    assert row_cells(lines[2]) == [text, "x"]


@pytest.mark.parametrize(
    "text",
    [
        "ARS",
        "wikitext2_line (mini)",
        "lr 0.001, betas [0.9, 0.95], eps 1e-08",
        "your_package.module:Your-Optimizer",
        "<0.001",
        "> 1e6",
        "3 < 4 & 5",
        r"C:\texts",
        '{"float32": "CPU kernel"}',
        "Größe 10 %",
    ],
)
def test_ordinary_texts_stay_as_they_are(text):
    assert escape(text) == text
    assert table_lines([[text]])[0] == f"| {text} |"


def test_whatever_is_escaped_comes_back():
    draw = random.Random(0)
    for _ in range(3000):
        text = "".join(draw.choice("\\|[]()<>&#;0129 a*`\n_!$~.-\u2028") for _ in range(draw.randint(0, 9)))
        assert unescape(escape(text)) == text
        assert row_cells(table_lines([["a", "b"], [text, text]])[2]) == [text, text]


def test_printable_names_every_character_that_acts():
    assert printable("a\nb\x1b[2J\x9b\u2028\u202e\ud800é") == r"a\nb\x1b[2J\x9b\u2028\u202e\ud800é"
