"""Where runs go: a directory for a new one, and the latest of a name."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path

from arsbench.errors import UserError


def reserve(path: str | os.PathLike[str]) -> Path:
    """Make the directory `path` for a new run, or find it empty, before long work begins.

    Raises:
        UserError: it holds files already, or cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UserError(occupied(path))
    except OSError as error:
        raise UserError(unwritable(path, error)) from error
    return path


def default_path(root: str | os.PathLike[str], stem: str) -> Path:
    """Reserve a new directory `root/stem`, or `root/stem-2`, `root/stem-3`, …

    The number is one more than the highest in use, so that the highest is the latest run.

    Raises:
        UserError: `root` cannot be written to.
    """
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(max(_numbered(root, stem), default=0) + 1):
            path = root / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):  # another process was faster
                path.mkdir()
                return path
    except OSError as error:
        raise UserError(unwritable(root, error)) from error


def latest(root: str | os.PathLike[str], stem: str) -> Path:
    """The latest run in `root` whose folder `default_path` named after `stem`.

    Raises:
        UserError: there is none.
    """
    started = {n: path for n, path in _numbered(Path(root), stem).items() if (path / "status.json").is_file()}
    if not started:
        raise UserError(f"there is no run of {stem!r} in {root} to resume; start one without --resume")
    return started[max(started)]


def _numbered(root: Path, stem: str) -> dict[int, Path]:
    """The paths `stem`, `stem-2`, … in `root` by their number, `stem` itself being 1."""
    pattern = re.compile(re.escape(stem) + r"(?:-([2-9]|[1-9][0-9]+))?")
    paths = root.iterdir() if root.is_dir() else ()
    matches = ((pattern.fullmatch(path.name), path) for path in paths)
    return {int(match[1] or 1): path for match, path in matches if match}


def occupied(path: Path) -> str:
    """Why a run cannot begin in a directory that holds files."""
    return f"{path} is not empty, and no run is ever overwritten; choose another output directory"


def unwritable(path: Path, error: OSError) -> str:
    """Why a run cannot begin where nothing can be written."""
    return f"cannot write to {path}: {error.strerror or error}; choose another output directory"
