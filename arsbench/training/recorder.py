"""From the figures of steps to the records of a run."""

from __future__ import annotations

import math
from typing import Any

from arsbench.runs.folder import RunFolder
from arsbench.tasks import Task
from arsbench.training.divergence import Divergence
from arsbench.training.metrics import EpochMetrics
from arsbench.training.observer import Observer
from arsbench.training.readings import Readings, Step


class NonFiniteError(Exception):
    """The loss, the gradient or the weights are no longer finite numbers."""


class Recorder:
    """Reads the figures of steps, adds them up, records them, and notices divergence.

    Args:
        task: the run's.
        log_every: every so many steps one is recorded in the run's folder.
        observer: told of every step and of divergence.

    Attributes:
        metrics: sums over the current epoch.
        divergence: whether the run has diverged.
    """

    def __init__(self, task: Task, log_every: int, observer: Observer) -> None:
        self.metrics = EpochMetrics()
        self.divergence = Divergence(task.classes)
        self._task = task
        self._log_every = log_every
        self._observer = observer
        self._readings = Readings()

    def begin(self) -> None:
        """A step begins."""
        self._readings.begin()

    def add(self, step: Step) -> None:
        """A step has been launched."""
        self._readings.add(step)

    def read(self, run: RunFolder) -> None:
        """Wait for the steps launched so far, count them, and record those that are due.

        Raises:
            NonFiniteError: a loss or a gradient norm is not finite.
            UserError: a record cannot be written.
        """
        for record in self._readings.read():
            for name in ("loss", "grad_norm"):
                if not math.isfinite(record[name]):
                    what = name.replace("grad_norm", "gradient norm")
                    raise NonFiniteError(f"the {what} became {record[name]} at step {record['step']}")
            self.metrics.add(
                loss=record["loss"],
                entropy=record["entropy_nats"],
                grad_norm=record["grad_norm"],
                passes=record["forward_backward_passes"],
                tokens=record["tokens"],
                lr=record["lr"],
                seconds=record["seconds"],
                accuracy=record.get("accuracy"),
            )
            if record["step"] % self._log_every == 0:
                run.append_step(record)
            self._observer.step(record)
            if self.divergence.add(record["step"], record["loss"]):
                run.set_status("running", record["step"], diverged_at=record["step"])
                self._observer.message(
                    f"diverged at step {record['step']}: the loss is {record['loss']:.4g}, more than twice "
                    f"that of a uniform prediction, {self.divergence.uniform:.4g}; training goes on"
                )

    def evaluation_record(self, epoch: int, step: int, evaluation: dict[str, Any]) -> dict[str, Any]:
        """The record of an evaluation within an epoch (see `RunFolder.append_evaluation`).

        Args:
            epoch: 0-based.
            step: optimizer steps taken.
            evaluation: figures by split.
        """
        return {
            "epoch": epoch + 1,
            "step": step,
            "forward_backward_passes": self.metrics.passes,
            **self.metrics.times(),
            "evaluation": evaluation,
        }

    def epoch_record(
        self,
        epoch: int,
        step: int,
        memory: dict[str, float | None],
        diagnostics: dict[str, float],
        evaluation: dict[str, Any],
    ) -> dict[str, Any]:
        """The record of an epoch that has ended.

        Args:
            epoch: 0-based.
            step: optimizer steps taken.
            memory: of `peak_memory`, MiB.
            diagnostics: what the optimizer measured in the last cycle.
            evaluation: figures by split.
        """
        return {
            "epoch": epoch + 1,
            "task": self._task.name,
            "step": step,
            **self.metrics.columns(self._task.classes),
            **self.metrics.times(),
            **memory,
            "diagnostics": diagnostics,
            "evaluation": evaluation,
        }

    def end_epoch(self) -> None:
        """The epoch's record is written: the next one's sums begin."""
        self.metrics = EpochMetrics()

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict`; entries of a checkpoint's state."""
        return {"metrics": self.metrics.state_dict(), "divergence": self.divergence.state_dict()}

    def load_state_dict(self, state: dict[str, Any], run: RunFolder) -> None:
        """Continue the run where a checkpoint was saved.

        Args:
            state: the checkpoint's.
            run: its recorded steps replace the divergence that older checkpoints do not have.
        """
        self.metrics = EpochMetrics(**state["metrics"])
        if "divergence" in state:
            self.divergence.load_state_dict(state["divergence"])
            return
        for record in run.steps():
            if record["step"] <= state["step"] and record.get("loss") is not None:
                self.divergence.add(record["step"], record["loss"])
