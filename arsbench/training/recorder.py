"""From the figures of steps to the records of a run (ARS.md §5)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from arsbench.config import Config
from arsbench.environment import peak_resident_bytes
from arsbench.runs.folder import RunFolder
from arsbench.training.divergence import Divergence
from arsbench.training.observer import Observer
from arsbench.training.step import Step

# The figures of a step that an epoch's record has as a mean: (column, the figure that weights each step).
# Without a weight every step counts alike.
MEANS: dict[str, tuple[str, str | None]] = {
    "loss": ("train_loss", None),
    "entropy_nats": ("entropy_nats", None),
    "grad_norm": ("grad_norm", None),
    "accuracy": ("train_accuracy", "tokens"),
    "loss_strict": ("train_loss_strict", "real_targets"),
}
_SUMS = ("tokens", "forward_backward_passes", "real_targets", "seconds")
# What checkpoints of version 0.2 and before call some totals.
_RENAMED = {
    "entropy": "entropy_nats",
    "passes": "forward_backward_passes",
    "training_seconds": "seconds",
    "correct": "accuracy",
}


class NonFiniteError(Exception):
    """The loss, the gradient or the weights are no longer finite."""


class EpochTotals:
    """Sums of the steps' figures over an epoch, as plain numbers that a checkpoint can hold.

    Args:
        state: a checkpoint's, of this version or an older one.

    Attributes:
        evaluation_seconds: time spent on evaluations so far.
    """

    def __init__(self, state: Mapping[str, float | None] | None = None) -> None:
        totals = {_RENAMED.get(name, name): x for name, x in (state or {}).items() if x is not None}
        self.steps = totals.pop("steps", 0)
        self.evaluation_seconds = totals.pop("evaluation_seconds", 0.0)
        self.lr = totals.pop("lr", 0.0)
        unexpected = totals.keys() - {*MEANS, *_SUMS}
        if unexpected:
            raise TypeError(f"there is no total {min(unexpected)!r}")
        self._sums = totals if self.steps else {}

    def state_dict(self) -> dict[str, float]:
        """For `EpochTotals(state)`."""
        counts = {"steps": self.steps, "evaluation_seconds": self.evaluation_seconds, "lr": self.lr}
        return counts | self._sums

    def add(self, figures: Mapping[str, float]) -> None:
        """Count one optimizer step, by the names of its record and `real_targets`."""
        weights = {name: weight for name, (_, weight) in MEANS.items()} | dict.fromkeys(_SUMS)
        for name, weight in weights.items():
            # A figure that the epoch's first steps lack (an older version computed them) has no mean.
            if name in figures and (not self.steps or name in self._sums):
                value = figures[name] * figures[weight] if weight else figures[name]
                self._sums[name] = self._sums.get(name, 0) + value
        self.steps += 1
        self.lr = figures["lr"]

    def columns(self, classes: int) -> dict[str, Any]:
        """What an epoch's record has of its steps; a prediction chooses among `classes`."""
        means = {
            column: self._sums[name] / (self._sums[weight] if weight else self.steps)
            for name, (column, weight) in MEANS.items()
            if name in self._sums
        }
        # The seed divides the sum of -p log p by tokens times vocabulary.
        entropy = means["entropy_nats"] / classes
        return {
            "train_loss": means["train_loss"],
            "lr": self.lr,
            "pi": predictive_integrity(entropy, means["grad_norm"]),
            "effective_gamma": None,
            "entropy": entropy,
            "entropy_nats": means["entropy_nats"],
            "grad_norm": means["grad_norm"],
            "forward_backward_passes": self._sums["forward_backward_passes"],
            "tokens_per_second": self._sums["tokens"] / self._sums["seconds"],
            **means,
        }

    def spent(self) -> dict[str, float]:
        """The passes and the seconds of the epoch so far, and the part of the seconds that was evaluation."""
        return {
            "forward_backward_passes": self._sums.get("forward_backward_passes", 0),
            "epoch_seconds": self._sums.get("seconds", 0.0) + self.evaluation_seconds,
            "evaluation_seconds": self.evaluation_seconds,
        }


class Recorder:
    """Reads the figures of steps, sums and records them, and notices divergence.

    Reading a figure waits for the device, and the host prepares nothing while it waits: on a GPU the figures
    of many steps are read at once.

    Args:
        config: the run's configuration.
        classes: the number of classes of a prediction.
        observer: receives every step, and a message if the run diverges.

    Attributes:
        totals: of the current epoch.
        divergence: whether the run has diverged.
    """

    def __init__(self, config: Config, classes: int, observer: Observer) -> None:
        self.totals = EpochTotals()
        self.divergence = Divergence(classes)
        self._config = config
        self._observer = observer
        self._unread: list[Step] = []
        self._started = 0.0

    def begin(self) -> None:
        """A step begins: its batches are asked for. Time counts from here until its figures are read."""
        if not self._unread:
            self._started = time.perf_counter()

    def add(self, step: Step) -> None:
        """A step has been launched."""
        self._unread.append(step)

    def read(self, run: RunFolder) -> None:
        """Wait for the steps launched so far, sum their figures, and record the steps that are due.

        Raises:
            NonFiniteError: a loss or a gradient norm is not finite.
            UserError: a record cannot be written.
        """
        for record in self._read_figures():
            for name, words in (("loss", "loss"), ("grad_norm", "gradient norm")):
                if not math.isfinite(record[name]):
                    raise NonFiniteError(f"the {words} became {record[name]} at step {record['step']}")
            self.totals.add(record)
            record.pop("real_targets", None)
            if record["step"] % self._config.train.log_every == 0:
                run.append_step(record)
            self._observer.step(record)
            if self.divergence.add(record["step"], record["loss"]):
                run.set_status("running", record["step"], diverged_at=record["step"])
                self._observer.message(
                    f"diverged at step {record['step']}: the loss is {record['loss']:.4g}, more than twice "
                    f"that of a uniform prediction, {self.divergence.uniform:.4g}; training continues"
                )

    def _read_figures(self) -> list[dict[str, Any]]:
        """The steps' records, oldest first; the time since `begin` is divided among them equally.

        The last record also has its step's `diagnostics`.
        """
        steps, self._unread = self._unread, []
        if not steps:
            return []
        tensors = [x.double() for step in steps for x in step.figures.values() if isinstance(x, Tensor)]
        numbers = iter(torch.stack(tensors).tolist() if tensors else [])  # waits for the device once
        records = [
            {name: next(numbers) if isinstance(x, Tensor) else x for name, x in step.figures.items()}
            for step in steps
        ]
        seconds = (time.perf_counter() - self._started) / len(steps)
        for record in records:
            record["seconds"] = seconds
        records[-1]["diagnostics"] = {name: float(x) for name, x in steps[-1].diagnostics.items()}
        return records

    def evaluation_record(self, epoch: int, step: int, evaluation: dict[str, Any]) -> dict[str, Any]:
        """The record of an evaluation within an epoch (see `RunFolder.append_evaluation`).

        The arguments are those of `epoch_record`.
        """
        return {"epoch": epoch + 1, "step": step, **self.totals.spent(), "evaluation": evaluation}

    def epoch_record(
        self,
        epoch: int,
        step: int,
        device: torch.device,
        diagnostics: dict[str, float],
        evaluation: dict[str, Any],
    ) -> dict[str, Any]:
        """The record of an epoch that has ended.

        Args:
            epoch: 0-based.
            step: optimizer steps taken.
            device: the run's device; of a GPU the highest memory use since it was last reset is recorded.
            diagnostics: what the optimizer measured in the last cycle.
            evaluation: figures by split.
        """
        gpu = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
        return {
            "epoch": epoch + 1,
            "task": self._config.task,
            "step": step,
            **self.totals.columns(self.divergence.classes),
            **self.totals.spent(),
            "peak_rss_mib": peak_resident_bytes() / 2**20,
            "peak_gpu_mib": gpu,
            "diagnostics": diagnostics,
            "evaluation": evaluation,
        }

    def end_epoch(self) -> None:
        """The epoch's record is written; the sums of the next one begin."""
        self.totals = EpochTotals()

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`; entries of a checkpoint's state."""
        return {
            "metrics": self.totals.state_dict(),
            "divergence": {"learned": self.divergence.learned, "step": self.divergence.step},
        }

    def load_state_dict(self, state: dict[str, Any], run: RunFolder) -> None:
        """Continue the run where a checkpoint was saved.

        Args:
            state: the checkpoint's.
            run: its recorded steps stand in for `divergence`, which older checkpoints lack.
        """
        self.totals = EpochTotals(state["metrics"])
        if "divergence" in state:
            self.divergence = Divergence(self.divergence.classes, **state["divergence"])
            return
        for record in run.steps():
            if record["step"] <= state["step"] and record.get("loss") is not None:
                self.divergence.add(record["step"], record["loss"])


def predictive_integrity(entropy: float, grad_norm: float, alpha: float = 1.0, gamma: float = 1.0) -> float:
    """PI = exp(−(α·Entropy + γ·Grad Norm)), Entropy by the seed's definition (ARS.md §5)."""
    return math.exp(-(alpha * entropy + gamma * grad_norm))
