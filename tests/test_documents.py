"""JSON and TOML from outside: what Python's parsers accept, or fail at, and nothing here could handle."""

import json

import pytest

from arsbench.documents import StructureError, parse_json, parse_toml

DEEP = "[" * 50_000 + "]" * 50_000


@pytest.mark.parametrize(
    ("parse", "text", "words"),
    [
        (parse_json, DEEP, "more than 100 levels deep"),
        (parse_json, "[" * 150 + "]" * 150, "more than 100 levels deep"),  # Python's parser takes this one
        (parse_toml, f"a = {DEEP}", "more than 100 levels deep"),
        (parse_toml, ".".join("a" * 5000) + " = 1", "more than 100 levels deep"),
        (parse_json, '{"a": {"lr": 1, "k": 2, "lr": 1}}', "key 'lr' appears twice"),
        (parse_json, r'["\ud800"]', "lone surrogate"),
        (parse_json, r'{"\udfff": 1}', "lone surrogate"),
        (parse_toml, "a = 0x" + "F" * 5000, "more than 8192 bits"),
    ],
)
def test_content_that_is_refused(parse, text, words):
    with pytest.raises(StructureError, match=words) as error:
        parse(text)
    assert len(str(error.value)) < 200


def test_a_text_that_is_no_document_is_another_error():
    for parse, text in ((parse_json, "[1,"), (parse_toml, "a = ")):
        with pytest.raises(ValueError, match=r"line 1|end of document") as error:
            parse(text)
        assert not isinstance(error.value, StructureError)


def test_ordinary_content_comes_through():
    content = {"a": [1, 2.5, None, True, {"b": "é 😀"}], "c": {}}
    assert parse_json(json.dumps(content)) == content  # ASCII alone: the smiley as a pair of surrogates
    assert parse_json(json.dumps(content, ensure_ascii=False).encode()) == content
    assert parse_toml("a.b = 1\n[c]\nd = [0x10]") == {"a": {"b": 1}, "c": {"d": [16]}}
    assert parse_json("[" * 90 + "]" * 90)
