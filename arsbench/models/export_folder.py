"""The folder of an export: its files appear together, and replace only an earlier export.

`arsbench_export.json` beside the files holds their SHA-256; a folder is an export if it has that file and no
other file has changed since. The files are written to a subfolder and moved out of it once they are whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from arsbench.documents import parse_json
from arsbench.errors import UserError
from arsbench.files import atomic_write, read_regular, sha256_of, sync_directory

MANIFEST = "arsbench_export.json"
FORMAT = "arsbench export 1"
STAGE = ".arsbench_export"
MAX_MANIFEST = 2**16  # bytes; a few hashes need a few hundred


@contextlib.contextmanager
def export_folder(directory: Path, names: Sequence[str]) -> Iterator[Path]:
    """Write an export's files whole or not at all.

    Args:
        directory: where they go; made where missing. Other files in it stay.
        names: the files; while they are moved, the last one is missing.

    Yields:
        the folder to write them to.

    Raises:
        UserError: `directory` holds files and is not an export, or an export with changed files, or cannot be
            written to. It then stays as it was.
    """
    _check_replaceable(directory, names)
    made, stage = not directory.exists(), directory / STAGE
    try:
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        yield stage
        manifest = {"format": FORMAT, "sha256": {name: sha256_of(stage / name) for name in names}}
        with atomic_write(stage / MANIFEST) as file:
            file.write(json.dumps(manifest, indent=2) + "\n")
    except BaseException as error:
        shutil.rmtree(stage, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                directory.rmdir()
        if isinstance(error, OSError):
            raise UserError(_unwritable(directory, error)) from error
        raise
    try:
        # If the process is killed from here on, the manifest in `stage` marks the folder as an export.
        (directory / names[-1]).unlink(missing_ok=True)
        for name in (*names, MANIFEST):
            os.replace(stage / name, directory / name)
        stage.rmdir()
        sync_directory(directory)
    except OSError as error:
        raise UserError(f"{_unwritable(directory, error)}, or export to it again") from error


def _check_replaceable(directory: Path, names: Sequence[str]) -> None:
    """Refuse a folder in which an export would overwrite other files."""
    stage, manifest = directory / STAGE, directory / MANIFEST
    if not directory.is_dir() or (stage / MANIFEST).is_file() or set(directory.iterdir()) <= {stage}:
        return
    hashes = _hashes(manifest)
    if hashes is None:
        raise UserError(
            f"{directory} is not empty and is not an export of this version; choose another folder, or empty "
            f"this one"
        )
    for name in names:
        path = directory / name
        if path.exists() and (not path.is_file() or sha256_of(path) != hashes.get(name)):
            raise UserError(
                f"{path} has changed since it was exported and is not overwritten; choose another folder, "
                f"or remove the file"
            )


def _hashes(manifest: Path) -> dict[str, str] | None:
    """The SHA-256 of an export's files by name; None where the file is missing or not an export's."""
    try:
        content = parse_json(read_regular(manifest, MAX_MANIFEST))
        hashes = content["sha256"] if content["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return hashes if hashes and isinstance(hashes, dict) else None


def _unwritable(directory: Path, error: OSError) -> str:
    return f"cannot write to {directory}: {error.strerror or error}; free some space or choose another folder"
