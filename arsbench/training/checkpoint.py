"""Checkpoints: directories that appear whole or not at all, and the random states that belong in them.

A checkpoint is `<root>/step-00000123/` with `model.safetensors`, `state.pt` (optimizer, scheduler, random
states, position, accumulators; loadable with `weights_only=True`) and `manifest.json`, which holds the
SHA-256 of the other two. It is written under a temporary name, synced and renamed.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from arsbench.characters import printable
from arsbench.errors import UserError
from arsbench.files import atomic_write, sha256_of, sync_directory
from arsbench.runs import checks
from arsbench.runs.checks import Check
from arsbench.runs.json_files import read_json

WEIGHTS = "model.safetensors"
STATE = "state.pt"
MANIFEST = "manifest.json"
# All that a checkpoint consists of; the manifest has the checksum of each and of nothing else.
FILES = (WEIGHTS, STATE)
# A checkpoint that is being written, and one that steps aside for another of the same step.
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
            UserError: names or shapes differ from the model's, or a weight is not finite, which no checkpoint
                of a run has.
        """
        try:
            load_model(model, str(self.path / WEIGHTS))
        except (RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path / WEIGHTS} does not fit the model: {reason}") from error
        if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters()):
            raise self._damaged(WEIGHTS, "a weight is not finite")

    def load_state(self, check: Check) -> dict[str, Any]:
        """The rest of the state, on the CPU. Nothing in the file is executed.

        Args:
            check: what it must hold (see `arsbench.runs.checks`).

        Raises:
            UserError: the file is damaged, or holds something else.
        """
        try:
            with warnings.catch_warnings(action="ignore"):  # about pickles that torch has not written
                state = torch.load(self.path / STATE, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:  # torch's message advises to load it unrestricted
            problem = "it is not a saved state, or holds objects that are neither tensors nor plain values"
            raise self._damaged(STATE, problem) from error
        except Exception as error:  # whatever the parts of torch that read it raise
            raise self._damaged(STATE, _in_a_line(error)) from error
        problem = check(state, "")
        if problem is not None:
            raise self._damaged(STATE, problem)
        return state

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Put the state into place: whatever fails on the way means that it is of another make.

        Raises:
            UserError: names the file.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise self._damaged(STATE, f"it does not fit the run, {_in_a_line(error)}") from error

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
        model: its parameters and buffers are saved; tied ones once.
        state: tensors, numbers, strings and containers of them.
        keep: how many checkpoints stay.

    Raises:
        UserError: the disk is full or not writable; earlier checkpoints are as they were.
    """
    final = root / f"step-{step:08d}"
    temporary = root / f"{WRITING}{final.name}"
    try:
        remove_leftovers(root)
        temporary.mkdir(parents=True)
        save_model(model, str(temporary / WEIGHTS), metadata={"format": "pt"})
        with open(temporary / STATE, "wb") as file:
            torch.save(dict(state), file)
        for name in FILES:
            with open(temporary / name, "rb") as file:
                os.fsync(file.fileno())
        manifest = {"step": step, "sha256": {name: sha256_of(temporary / name) for name in FILES}}
        with atomic_write(temporary / MANIFEST) as file:
            json.dump(manifest, file, indent=2)
        # One of the same step may be there, whole or damaged: it steps aside until the new one is in place.
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
    # What lies beyond this step belongs to a future that the run has turned away from.
    others = [directory for directory in _directories(root) if directory != final]
    beyond = [directory for directory in others if _step(directory) > step]
    older = [directory for directory in others if _step(directory) < step]
    for directory in beyond + older[keep - 1 :]:
        shutil.rmtree(directory, ignore_errors=True)
    return Checkpoint(final, step)


def latest_checkpoint(root: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where there is none at all.

    Args:
        root: the directory of all checkpoints.
        warn: told in a sentence of each damaged checkpoint that is passed over.

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
    """Put right what a process left in `root` that died while it wrote a checkpoint.

    No other process may write checkpoints to `root` at the same time.
    """
    for aside in root.glob(f"{ASIDE}step-*"):
        successor = root / aside.name.removeprefix(ASIDE)
        if successor.exists() and _problem(successor) is None:
            shutil.rmtree(aside, ignore_errors=True)
        else:  # it died between two renames, or a disk has lost what it wrote
            shutil.rmtree(successor, ignore_errors=True)
            os.replace(aside, successor)
    for unfinished in root.glob(f"{WRITING}step-*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def random_states() -> dict[str, Any]:
    """States of all the generators that training may draw from, as `state.pt` may hold them."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Continue every generator where `random_states` saw it.

    Raises:
        Exception: of many kinds, where `states` are not of its making.
    """
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, *rest = states["numpy"]
    if not 0 <= position <= len(keys):  # numpy does not check it, and would read other memory
        raise ValueError(f"the position of numpy's generator is {position}")
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def _directories(root: Path) -> list[Path]:
    """Newest first; whatever else somebody keeps there is left alone."""
    pattern = re.compile(rf"(?:{re.escape(ASIDE)})?step-\d+")
    paths = [path for path in root.glob("*step-*") if pattern.fullmatch(path.name) and path.is_dir()]
    # One that stepped aside counts where none has taken its place.
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
        # By our names: the manifest's own could be anywhere.
        for name in FILES:
            if sha256_of(directory / name) != manifest["sha256"][name]:
                return f"{name} does not match its checksum"
        strange = sorted(manifest["sha256"].keys() - set(FILES))
    except (OSError, UserError) as error:
        return f"unreadable: {error}"
    return (
        f"{MANIFEST} names {printable(strange[0])!r}, which is no part of a checkpoint" if strange else None
    )


def _in_a_line(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"
