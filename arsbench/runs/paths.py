"""Directories of runs: a new one, and the latest one of a name.

A run has started once its `status.json` exists, which is written last. A process that is killed before, or
that finds the disk full, leaves a directory in which nothing is recorded: it counts as vacant.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from arsbench.errors import UserError
from arsbench.files import abandoned_temporaries
from arsbench.runs import checks
from arsbench.runs.lock import LOCK, claimed, unwritable

STATUS = "status.json"
# Each document's type and check.
DOCUMENTS: dict[str, tuple[type, checks.Check]] = {
    "config.json": (dict, checks.ANYTHING),  # another program may have written it, as part of a report
    "effective.json": (dict, checks.TABLES),
    "environment.json": (dict, checks.ENVIRONMENT),
    "groups.json": (list, checks.GROUPS),
    STATUS: (dict, checks.STATUS),
}
# Both are empty until something is recorded; a new run's first file is the first one.
RECORDS = ("steps.jsonl", "epochs.jsonl")


def reserve(path: str | os.PathLike[str]) -> Path:
    """Make the directory `path` for a new run, or check that it is vacant, before long work begins.

    Raises:
        UserError: it holds files, or cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not is_vacant(path):
            raise occupied(path)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


@contextlib.contextmanager
def claimed_run(path: str | os.PathLike[str], *, made: bool = False) -> Iterator[None]:
    """Make the directory of a new run, or check that it is vacant, and lock it.

    If no run starts, a directory that was made here, or before for this run (`made`), is removed.

    Raises:
        UserError: it holds files, cannot be made or locked, or another process holds its lock.
    """
    path = Path(path)
    made = made or not path.exists()
    reserve(path)  # before a lock file is made in a directory that may hold other files
    with claimed(path, STATUS, made=made):
        reserve(path)  # another process may have started a run there meanwhile
        yield


def is_vacant(path: Path) -> bool:
    """Whether the directory `path` is empty, but for a lock and the files of a run that never started."""
    names = {entry.name for entry in path.iterdir()} - {LOCK}
    return not names or (RECORDS[0] in names and names == {file.name for file in _unstarted(path)})


def clear(path: Path) -> None:
    """Remove the files of a run that never started from a directory for which `is_vacant` holds."""
    for file in reversed(_unstarted(path)):  # last the one by which `is_vacant` recognises the others
        file.unlink(missing_ok=True)


def _unstarted(path: Path) -> list[Path]:
    """The files that a new run writes before it starts; [] where it has started, or something is recorded."""
    if (path / STATUS).exists():
        return []
    files = [file for name in (*RECORDS, *DOCUMENTS) if (file := path / name).is_file()]
    if any(file.name in RECORDS and file.stat().st_size for file in files):
        return []
    return files + abandoned_temporaries(path, (*RECORDS, *DOCUMENTS))


def default_path(root: str | os.PathLike[str], stem: str) -> Path:
    """Make a new directory `root/stem`, or `root/stem-2`, `root/stem-3`, …

    The number is one more than the highest in use, so that the highest is the latest run.

    Raises:
        UserError: `root` cannot be written to.
    """
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = max(_numbered(root, stem), default=0)
        while True:
            number += 1
            path = root / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):  # another process made it first
                path.mkdir()
                return path
    except OSError as error:
        raise unwritable(root, error) from error


def latest(root: str | os.PathLike[str], stem: str) -> Path:
    """The latest run in `root` in a directory that `default_path` named after `stem`.

    Raises:
        UserError: there is none.
    """
    started = {n: path for n, path in _numbered(Path(root), stem).items() if (path / STATUS).is_file()}
    if not started:
        raise UserError(f"there is no run of {stem!r} in {root} to resume; start one without --resume")
    return started[max(started)]


def _numbered(root: Path, stem: str) -> dict[int, Path]:
    """The paths `stem`, `stem-2`, … in `root` by their number; `stem` itself has the number 1."""
    pattern = re.compile(re.escape(stem) + r"(?:-([2-9]|[1-9][0-9]+))?")
    paths = root.iterdir() if root.is_dir() else ()
    matches = ((pattern.fullmatch(path.name), path) for path in paths)
    return {int(match[1] or 1): path for match, path in matches if match}


def occupied(path: Path) -> UserError:
    """The error for a directory that holds files."""
    return UserError(f"{path} is not empty, and a run overwrites nothing; choose another folder with --out")
