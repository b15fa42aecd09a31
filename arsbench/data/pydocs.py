"""English text that comes with Python: pydoc's topics and the standard library's docstrings.

It needs no network and no data file. The text differs between Python versions, so figures measured on it
are comparable only within one version.
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
"""Characters; shorter documents are left out, since they hold little text."""

# One document in twenty goes to validation, one to test: 90/5/5.
_BUCKETS = 20


def load_pydocs() -> dict[str, list[str]]:
    """Read the documents of the running Python and split them 90/5/5.

    A document is one topic of pydoc, or the docstring of one module, class or function, with every run of
    white space replaced by a space (line breaks mean nothing once a text is cut into sentences, and runs of
    spaces would be easy targets). The SHA-256 of a document decides its split, so that a document added by
    another Python version does not move the others.

    Returns:
        {"train": ..., "validation": ..., "test": ...}, the same for every run of one Python.

    Raises:
        UserError: this Python comes without the source of its library.
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
            f"the Python at {sys.executable} comes without documentation to train on; use another Python or "
            "--set data.source=files with data.path"
        )
    return splits


def _documents() -> Iterator[str]:
    """Topics by name, then docstrings by path and position in the file."""
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions package Python without its documentation
        topics = {}
    for name in sorted(topics):
        yield topics[name]
    for path in _library_sources():
        yield from _docstrings(path)


def _library_sources() -> list[Path]:
    """Source files of the standard library without its tests, ordered by path."""
    root = Path(sysconfig.get_path("stdlib"))
    sources = sorted((path.relative_to(root).with_suffix("").parts, path) for path in root.rglob("*.py"))
    # An allow-list keeps site-packages and stray files out.
    return [
        path
        for parts, path in sources
        if parts[0] in sys.stdlib_module_names and not any(map(_is_test, parts))
    ]


def _is_test(part: str) -> bool:
    return part in ("test", "tests") or part.endswith("_test") or part.startswith("test_")


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about old escapes in the library's sources
            tree = ast.parse(path.read_bytes(), filename=str(path))
    except (OSError, SyntaxError, ValueError):
        return  # a test file whose encoding or syntax is invalid on purpose
    unread: list[ast.AST] = [tree]
    while unread:
        node = unread.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield docstring
        # Only blocks of statements hold definitions; visiting expressions would take most of the time.
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
