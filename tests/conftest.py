"""A text and a configuration so small that a whole run takes a second."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# No test may ask a hub for anything.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tests' matrices are small: threads would only wait for one another. Tests about threads set their number,
# and waiting keeps no core busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

WORDS = [
    "the",
    "a",
    "one",
    "some",
    "of",
    "in",
    "on",
    "under",
    "river",
    "mountain",
    "keeper",
    "lantern",
    "harbour",
    "winter",
    "apple",
    "quiet",
    "narrow",
    "walks",
    "sings",
    "finds",
    "keeps",
    "remembers",
    "slowly",
    "often",
    "never",
    "café",
    "naïve",
    "stone",
    "window",
    "paper",
    "letter",
    "garden",
]


def make_text(lines: int, seed: int) -> str:
    """Lines of a few sentences each."""
    draw = random.Random(seed)

    def sentence() -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(3, 14))).capitalize()

    return "".join(
        " " + " . ".join(sentence() for _ in range(draw.randint(1, 4))) + " .\n" for _ in range(lines)
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache, depends on the user's texts, or waits for the disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in WikiText's form."""
    folder = tmp_path_factory.mktemp("texts")
    for name, lines, seed in (("train", 130, 0), ("valid", 50, 1), ("test", 40, 2)):
        (folder / f"wiki.{name}.tokens").write_text(make_text(lines, seed), encoding="utf-8")
    return folder


@pytest.fixture
def tiny(texts: Path, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """A configuration as a user would write it, on those texts."""
    return {
        "experiment": {"tasks": ["wikitext2_line (tiny)"], "seed": 7, "device": "cpu"},
        "model": {
            "vocabulary_size": 400,
            "embedding_size": 32,
            "sequence_length": 31,
            "num_heads": 2,
            "num_layers": 2,
            "intermediate_size": 48,
            "head_dim": 64,
        },
        "data": {
            "batch_size": 4,
            "tokenizer_path": str(tmp_path / "tokenizer.json"),
            "source": "files",
            "path": str(texts),
        },
        "optimizer": {"name": "ARS", "lr": 0.002, "k": 3, "rho": 0.05},
        "train": {"epochs": 2, "log_every": 1, "max_steps": None},
    }


@pytest.fixture
def modular() -> dict[str, dict[str, Any]]:
    """A configuration of modular addition: six steps an epoch, the last of them smaller."""
    return {
        "experiment": {"tasks": ["mod_addition (tiny)"], "seed": 7, "device": "cpu"},
        "model": {
            "type": "one_layer",
            "embedding_size": 16,
            "sequence_length": 3,
            "num_heads": 2,
            "num_layers": 1,
            "intermediate_size": 24,
            "tie_word_embeddings": False,
            "head_dim": 8,
        },
        "data": {"batch_size": 60, "modulus": 23, "train_fraction": 0.6},
        "optimizer": {"name": "ARS", "lr": 0.003, "k": 3, "rho": 0.05},
        "train": {"epochs": 4, "log_every": 1},
    }


@pytest.fixture
def record_run(tmp_path: Path) -> Callable[..., Path]:
    """Make the folder of a run of WikiText-2 by hand.

    `record_run(name, losses=(4.5, 4.0), optimizer="ARS", seed=1, config={}, environment={}, state="finished",
    message="", diverged_at=None)`: `losses` are the strict protocol's, one for each epoch, which has 100
    steps, 120 passes and takes 30 seconds; the seed protocol's are 0.5 less. `config` changes sections,
    `environment` facts.
    """
    from arsbench.config import config_from_dict
    from arsbench.runs.folder import RunFolder
    from arsbench.training.start import effective_tables

    def record(name: str, losses=(4.5, 4.0), *, optimizer="ARS", seed=1, config=None, **changes: Any) -> Path:
        given = {"experiment": {"seed": seed}, "optimizer": {"name": optimizer}}
        for section, keys in (config or {}).items():
            given[section] = given.get(section, {}) | keys
        machine = {
            "arsbench": "1",
            "commit": "c0ffee",
            "cpu": "Xeon",
            "threads": 2,
            "device": "cpu",
            "gpu": None,
        }
        folder = RunFolder.create(
            tmp_path / name,
            config=given,
            effective=effective_tables(config_from_dict(given)),
            environment=machine | changes.get("environment", {}),
            groups=[],
        )
        for epoch, loss in enumerate(losses, start=1):
            folder.append_step({"step": 100 * epoch - 50, "epoch": epoch, "loss": loss + 0.25})
            folder.append_epoch(_epoch(epoch, loss, folder.effective["experiment"]["tasks"][0]))
        folder.set_status(
            changes.get("state", "finished"),
            100 * len(losses),
            changes.get("message", ""),
            diverged_at=changes.get("diverged_at"),
        )
        return folder.path

    return record


def _epoch(epoch: int, loss: float, task: str) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "task": task,
        "step": 100 * epoch,
        "train_loss": loss + 0.25,
        "forward_backward_passes": 120,
        "epoch_seconds": 30.0,
        "peak_rss_mib": 1500.0,
        "peak_gpu_mib": None,
        "diagnostics": {"cos_pos_0": 0.125},
        "evaluation": {
            "validation": {"seed": {"loss": loss - 0.5}, "strict": {"loss": loss, "targets": 1000}},
        },
    }


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[[dict], str]:
    """Save a configuration and return its path."""

    def write(config: dict) -> str:
        path = tmp_path / "tiny.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def arsbench(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own, in `tmp_path`."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300} | options
        return subprocess.run(command(*arguments), **options)

    return run


def command(*arguments: str) -> list[str]:
    """The command line as this Python runs it."""
    return [sys.executable, "-c", "from arsbench_cli.main import main; main()", *arguments]
