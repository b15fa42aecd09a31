"""Runs that crash or are interrupted at a given step, and whether two runs are the same to the bit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.runs.folder import RunFolder

# What a machine measures of itself may differ from run to run; everything else may not.
MEASURED = {
    "seconds",
    "epoch_seconds",
    "evaluation_seconds",
    "tokens_per_second",
    "peak_rss_mib",
    "peak_gpu_mib",
}


class Crash(BaseException):
    """Stands for a process that dies."""


class Silent:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


@dataclass
class Trained:
    """What a call of `train` leaves: the run's folder, and the trainer as it was at the end."""

    run: RunFolder
    trainer: training.Trainer

    @property
    def checkpoint(self) -> Path:
        return max(self.run.checkpoints.glob("step-*"))

    def state(self) -> dict[str, Any]:
        return torch.load(self.checkpoint / "state.pt", weights_only=True)

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.checkpoint / "model.safetensors")

    def records(self) -> list[dict[str, Any]]:
        records = [*self.run.steps(), *self.run.evaluations(), *self.run.epochs()]
        return [{key: value for key, value in r.items() if key not in MEASURED} for r in records]

    def assert_same(self, other: Trained) -> None:
        assert self.records() == other.records()
        mine, theirs = self.weights(), other.weights()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        parameters = zip(self.trainer.model.parameters(), other.trainer.model.parameters(), strict=True)
        assert all(torch.equal(p, q) for p, q in parameters)


@pytest.fixture
def train() -> Callable[..., Trained]:
    """`train(given, path, resume=False, crash_before=None, interrupt_after=None)`: the last two are steps."""
    return _train


def _train(
    given: dict[str, Any],
    path: Path,
    *,
    resume: bool = False,
    crash_before: int | None = None,
    interrupt_after: int | None = None,
) -> Trained:
    config = config_from_dict(given)
    trainer = training.create_trainer(config, Silent())
    if resume:
        run = RunFolder.open(path)
        training.resumed_run(run, config, trainer)
    else:
        run = training.new_run(path, config, trainer)
    step = trainer._train_step

    def watched(*arguments: Any) -> None:
        if trainer.step == crash_before:
            raise Crash
        step(*arguments)
        trainer._interrupts.requested = trainer.step == interrupt_after

    trainer._train_step = watched
    with contextlib.suppress(Crash):
        trainer.run(run)
    return Trained(run, trainer)
