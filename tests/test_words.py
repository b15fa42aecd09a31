"""The words of the product: standard terms in all that a user can read, names that say what they hold."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What to stop writing, as a regular expression, and what to write instead.
GLOSSARY = {
    r"not to be told\b": "no significant difference from",
    r"(not )?told by\b": "reported by, no data for",
    r"page that needs? nothing else": "a self-contained HTML page",
    r"(go|goes|going|went) on with": "resume with, continue with",
    r"nobody( is)? at work": "not running",
    r"of another vocabulary": "has a different vocabulary",
    r"other bits\b": "would change the results bitwise",
    r"of it evaluation": "evaluation time",
    r"at most so many": "maximum number of",
    r"(ours|theirs|anybody's)\b": "built-in, third-party",
    r"(the )?(first report('s form)?|seed's form|seed report's form)\b": "the reference report format",
    r"to the (very )?same bits?\b": "bitwise identical",
    r"(comes?|came) to (its|their) end": "finished",
    r"what was given\b": "configuration as written",
    r"(as given and|configuration) as run\b": "effective configuration",
    r"lists? of (a )?finite numbers?\b": "a list of numbers",
}
# Names that say nothing of what they hold.
FILLERS = {"found", "own", "told", "known"}

MODULES = sorted([*ROOT.glob("arsbench/**/*.py"), *ROOT.glob("cli/*.py"), *ROOT.glob("examples/*.py")])
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "examples/*.toml",
        "arsbench/**/*.toml",
        "arsbench/*/templates/*",
    )
    for path in ROOT.glob(pattern)
)


def phrases(text: str) -> list[str]:
    """The phrases of a text that have a standard term, each with that term; line breaks count as spaces."""
    text = " ".join(text.split())
    return [
        f"{match[0]!r}: write {remedy!r}"
        for pattern, remedy in GLOSSARY.items()
        for match in re.finditer(rf"\b{pattern}", text, re.IGNORECASE)
    ]


def fillers(tree: ast.AST) -> list[str]:
    """The filler names that a module gives, or uses, with their lines."""
    names = []
    for node in ast.walk(tree):
        for field in ("id", "arg", "attr", "name", "asname", "rest"):
            if getattr(node, field, None) in FILLERS:
                names.append(f"line {getattr(node, 'lineno', '?')}: {getattr(node, field)}")
    return names


def strings(tree: ast.AST) -> list[tuple[int, str]]:
    """The string constants of a module, docstrings and the parts of f-strings included, with their lines."""
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [(node.lineno, node.value) for node in constants if isinstance(node.value, str)]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_names_say_what_they_hold(path):
    assert not fillers(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_strings_use_standard_terms(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [f"line {line}: {phrase}" for line, text in strings(tree) for phrase in phrases(text)]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_pages_use_standard_terms(path):
    assert not phrases(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "AdaMuon: not to be told from AdamW by steps.",
        "Not told by: AdamW.",
        "Write a page that needs\nnothing else.",
        "Go on with: arsbench train --resume",
        "(nobody at work)",
        "the text is of another vocabulary",
        "the kernel would compute other bits",
        "of it evaluation (s)",
        "At most so many new tokens.",
        "Name one of ours, or anybody's.",
        "a report of the first report's form",
        "written in the seed's form",
        "it resumes to the same bits",
        "a run that came to its end",
        "the configuration as given and as run",
        "betas must be a list of a finite number",
    ],
)
def test_the_left_column_of_the_glossary_is_seen(text):
    assert phrases(text)


@pytest.mark.parametrize(
    "text",
    ["The loss must be a finite number.", "files such as run folders", "Hours pass.", "bitwise identical"],
)
def test_standard_english_is_allowed(text):
    assert not phrases(text)


def test_fillers_are_seen_wherever_a_name_stands():
    source = "import math as own\ndef told(known): found = self.own\ntry: pass\nexcept OSError as found: pass"
    assert len(fillers(ast.parse(source))) == 6
