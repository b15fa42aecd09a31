"""Checkpoints: directories that appear whole or not at all.

A checkpoint is `<root>/step-00000123/` with `model.safetensors`, `state.pt` (everything else that a run needs
to resume, see `state.py`; loadable with `weights_only=True`) and `manifest.json`, which holds the SHA-256 of
the other two. It is written under a temporary name, synced and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model

from arsbench.errors import UserError, printable
from arsbench.files import atomic_write, sha256_of, sync_directory
from arsbench.models.weights_file import write_safetensors
from arsbench.runs import checks
from arsbench.runs.checks import Check
from arsbench.runs.json_files import read_json

WEIGHTS = "model.safetensors"
STATE = "state.pt"
MANIFEST = "manifest.json"
# The files whose checksums the manifest has; it has no other entry.
FILES = (WEIGHTS, STATE)
# A checkpoint that is being written, and one that is being replaced by another of the same step.
WRITING, ASIDE = ".writing-", ".replaced-"

_MANIFEST = checks.record({"sha256": checks.record(dict.fromkeys(FILES, checks.TEXT))})


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files have been checked against its manifest."""

    path: Path
    step: int

    def load_weights(self, model: torch.nn.Module) -> None:
        """Copy the weights into `model`, in place.

        Raises:
            UserError: names or shapes differ from the model's, or a weight is not finite (no run saves one).
        """
        try:
            load_model(model, str(self.path / WEIGHTS))
        except (RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path / WEIGHTS} does not fit the model: {reason}") from error
        if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
            raise self._damaged(WEIGHTS, "a weight is not finite")

    def load_state(self, check: Check) -> dict[str, Any]:
        """The content of `state.pt`, on the CPU. Nothing in the file is executed.

        Args:
            check: what it must hold (see `arsbench.runs.checks`).

        Raises:
            UserError: the file is damaged or does not pass the check.
        """
        try:
            with warnings.catch_warnings(action="ignore"):  # torch warns of pickles that it did not write
                state = torch.load(self.path / STATE, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # torch's message advises to load it unrestricted
            problem = "it is not a saved state, or holds objects that are neither tensors nor plain values"
            raise self._damaged(STATE, problem) from error
        except Exception as error:  # torch raises many types
            raise self._damaged(STATE, _first_line(error)) from error
        problem = check(state, "")
        if problem is not None:
            raise self._damaged(STATE, problem)
        return state

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Inside the block the state is put into place; any error there means that it does not fit.

        Raises:
            UserError: the state does not fit the run; names the file.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise self._damaged(STATE, f"it does not fit the run, {_first_line(error)}") from error

    def _damaged(self, name: str, problem: str) -> UserError:
        return UserError(
            f"{self.path / name} is damaged: {problem}; remove {self.path} to use the checkpoint before it, "
            f"or train into another folder"
        )


def save_checkpoint(
    root: Path, step: int, model: torch.nn.Module, state: Mapping[str, Any], keep: int
) -> Checkpoint:
    """Write the checkpoint of `step` and remove all but the `keep` newest.

    No other process may write checkpoints to `root` at the same time.

    Args:
        root: the directory of all checkpoints.
        step: optimizer steps taken so far.
        model: its parameters and buffers are saved.
        state: tensors, numbers, strings and containers of them.
        keep: the number of checkpoints to keep.

    Raises:
        UserError: the disk is full or not writable; earlier checkpoints stay as they were.
    """
    final = root / f"step-{step:08d}"
    temporary = root / f"{WRITING}{final.name}"
    try:
        remove_leftovers(root)
        temporary.mkdir(parents=True)
        sums = {
            WEIGHTS: _write(temporary / WEIGHTS, lambda file: write_safetensors(file, model.state_dict())),
            STATE: _write(temporary / STATE, lambda file: torch.save(dict(state), file)),
        }
        with atomic_write(temporary / MANIFEST) as file:
            json.dump({"step": step, "sha256": sums}, file, indent=2)
        # An older checkpoint of this step, whole or damaged, stays until the new one is in place.
        if final.exists():
            os.replace(final, root / f"{ASIDE}{final.name}")
        os.replace(temporary, final)
        sync_directory(root)
        remove_leftovers(root)
    except (OSError, RuntimeError, SafetensorError, UserError) as error:
        with contextlib.suppress(OSError):
            remove_leftovers(root)
        reason = str(error).splitlines()[0]
        raise UserError(
            f"cannot save the checkpoint {final} ({reason}); earlier checkpoints are intact: "
            f"make room and resume"
        ) from error
    # A run that was resumed before later checkpoints does not return to them.
    kept = [directory for directory in _directories(root) if _step(directory) <= step][:keep]
    for directory in _directories(root):
        if directory not in kept:
            shutil.rmtree(directory, ignore_errors=True)
    return Checkpoint(final, step)


class _HashingFile(io.BufferedWriter):
    """A new file that hashes what is written to it: reading a large one again would take seconds."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "wb"))
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return super().write(data)


def _write(path: Path, write: Callable[[_HashingFile], object]) -> str:
    """Let `write` fill a new file, and sync it to disk; returns its SHA-256 in hexadecimal."""
    with _HashingFile(path) as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
        return file.digest.hexdigest()


def latest_checkpoint(root: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where there is no checkpoint.

    Args:
        root: the directory of all checkpoints.
        warn: receives a sentence about each damaged checkpoint that is skipped.

    Raises:
        UserError: there are checkpoints, and every one of them is damaged.
    """
    directories = _directories(root)
    for directory in directories:
        problem = _problem(directory)
        if problem is None:
            return Checkpoint(directory, _step(directory))
        warn(f"checkpoint {directory} is damaged ({problem}); trying the one before it")
    if directories:
        raise UserError(f"every checkpoint in {root} is damaged; start the run again in another folder")
    return None


def remove_leftovers(root: Path) -> None:
    """Clean up after a process that died while it wrote a checkpoint to `root`.

    No other process may write checkpoints to `root` at the same time.
    """
    for aside in root.glob(f"{ASIDE}step-*"):
        successor = root / aside.name.removeprefix(ASIDE)
        if successor.exists() and _problem(successor) is None:
            shutil.rmtree(aside, ignore_errors=True)
        else:  # the process died between two renames, or the disk lost what it wrote
            shutil.rmtree(successor, ignore_errors=True)
            os.replace(aside, successor)
    for unfinished in root.glob(f"{WRITING}step-*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def _directories(root: Path) -> list[Path]:
    """The checkpoints' directories, newest first; anything else in `root` is ignored."""
    pattern = re.compile(rf"(?:{re.escape(ASIDE)})?step-\d+")
    paths = [path for path in root.glob("*step-*") if pattern.fullmatch(path.name) and path.is_dir()]
    # One that is being replaced counts until its replacement is there.
    by_step = {_step(path): path for path in sorted(paths, key=lambda path: not path.name.startswith(ASIDE))}
    return [by_step[step] for step in sorted(by_step, reverse=True)]


def _step(directory: Path) -> int:
    return int(directory.name.rpartition("-")[2])


def _problem(directory: Path) -> str | None:
    """What is wrong with the checkpoint, or None."""
    try:
        manifest = read_json(directory / MANIFEST, dict)
        problem = _MANIFEST(manifest, "")
        if problem is not None:
            return f"{MANIFEST}: {problem}"
        # Names from the manifest could be paths to anywhere.
        for name in FILES:
            if sha256_of(directory / name) != manifest["sha256"][name]:
                return f"{name} does not match its checksum"
    except (OSError, UserError) as error:
        return f"unreadable: {error}"
    unexpected = min(manifest["sha256"].keys() - set(FILES), default=None)
    if unexpected is not None:
        return f"{MANIFEST} names {printable(unexpected)!r}, which is not part of a checkpoint"
    return None


def _first_line(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"
