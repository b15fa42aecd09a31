"""English text that every Python carries: pydoc's topics and the standard library's docstrings.

No network and no file of the project is needed. The text differs from one Python version to the next, so
figures measured on it are comparable only within one version.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from arsbench.errors import UserError

SHORTEST = 40
"""Documents of fewer characters say too little to be worth a place."""

# One document in twenty goes to validation, one to test: 90/5/5.
_BUCKETS = 20


def load_pydocs() -> dict[str, list[str]]:
    """Read the documents of the running Python and split them 90/5/5.

    A document is one topic of pydoc, or the docstring of one module, class or function, with every run of
    white space made one space (line breaks mean nothing once a text is cut into sentences, and runs of
    spaces would be easy targets that flatter a language model). The split is decided by the SHA-256 of the
    document alone, so a document added by another Python version moves no other.

    Returns:
        {"train": ..., "validation": ..., "test": ...}, the same for every run of one Python.

    Raises:
        UserError: this Python carries no library in source form.
    """
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    seen = set()
    for document in _documents():
        text = " ".join(document.split())
        if len(text) < SHORTEST or text in seen or not _is_utf8(text):
            continue
        seen.add(text)
        splits[_split_of(text)].append(text)
    if not all(splits.values()):
        raise UserError(
            f"the Python at {sys.executable} carries no documentation to train on; use another Python or "
            "--set data.source=files with data.path"
        )
    return splits


def _documents() -> Iterator[str]:
    """Topics by name, then docstrings by path and place in the file."""
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions ship the interpreter without its documentation
        topics = {}
    for name in sorted(topics):
        yield topics[name]
    for path in _library_sources():
        yield from _docstrings(path)


def _library_sources() -> list[Path]:
    """Source files of the standard library, without its tests, ordered by their path inside it."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for path in root.rglob("*.py"):
        inside = path.relative_to(root).with_suffix("")
        # Naming what belongs, rather than what does not, keeps site-packages and stray files out.
        if inside.parts[0] in sys.stdlib_module_names and not any(map(_is_test, inside.parts)):
            found.append((inside.parts, path))
    return [path for _, path in sorted(found)]


def _is_test(part: str) -> bool:
    return part in ("test", "tests") or part.endswith("_test") or part.startswith("test_")


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escapes in the library's sources are not our business
            tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError):
        return  # a file kept on purpose in an encoding or syntax that does not parse
    unread: list[ast.AST] = [tree]
    while unread:
        node = unread.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring
        # Only blocks of statements hold definitions; looking into expressions would take most of the time.
        for block in ("finalbody", "orelse", "cases", "handlers", "body"):
            unread.extend(reversed(getattr(node, block, [])))


def _is_utf8(text: str) -> bool:
    """Whether the text can be written as UTF-8 (a docstring may hold lone surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _split_of(text: str) -> str:
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % _BUCKETS
    return {0: "validation", 1: "test"}.get(bucket, "train")
