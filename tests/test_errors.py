"""What messages say of a value, and texts that do not fit into a line."""

import pytest

from arsbench.errors import UserError, require_line, shown


def test_a_value_is_shown_whole_or_cut():
    assert shown("a\n") == r"'a\n'"
    assert shown([1, 2.5]) == "[1, 2.5]"
    assert shown("x" * 10_000) == "'" + "x" * 119 + " ..."
    assert shown(16**50_000) == "<int too long to be shown>"
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(deep) == "<list too long to be shown>"


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ud800"])
def test_a_text_of_more_than_a_line_is_refused(character):
    with pytest.raises(UserError) as error:
        require_line("name", f"a{character}b")
    assert "it must be one line of ordinary characters" in str(error.value)
    assert str(error.value).isprintable()


def test_a_line_of_any_language_is_not():
    require_line("name", "wikitext2_line (größer, 大きい, 😀, a\u00a0b)")


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_the_words_that_stand_for_numbers_are_refused(word):
    with pytest.raises(UserError, match="must not be a word that stands for a number"):
        require_line("a contender's name", word)
    require_line("a contender's name", f"{word}s")
