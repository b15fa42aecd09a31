"""The training loop: steps, epochs, checkpoints, records."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import torch

from arsbench import optim
from arsbench.config import Config
from arsbench.environment import CalledOps, environment
from arsbench.metrics import METRICS, task_name
from arsbench.runs.folder import RunFolder
from arsbench.tasks import Task
from arsbench.training.checkpoint import latest_checkpoint, remove_leftovers
from arsbench.training.evaluate import evaluate
from arsbench.training.observer import Observer, StopTraining
from arsbench.training.recorder import NonFiniteError, Recorder
from arsbench.training.schedule import create_scheduler
from arsbench.training.state import evaluation_weights, restore_state, save_state
from arsbench.training.step import Batch, optimizer_step, prefetched
from arsbench.training.stopping import Interrupted, InterruptGuard, record_failure


class Trainer:
    """One run of a configuration on a task.

    The configuration and the number of steps alone decide the state: a run that is stopped and resumed at any
    step is bitwise identical to an uninterrupted run.

    Args:
        config: the run's configuration.
        task: its data, model and loss.
        device: where to run it.
        observer: receives the run's events.

    Attributes:
        groups: the parameter groups as they are recorded.
        step: optimizer steps taken.
        epoch_step: those of the current epoch.
        target_reached: whether an epoch's deciding metric was as good as `train.stop_at`.
        recorder: of the steps' figures.
        called_ops: the ops that the run has called.

    Raises:
        UserError: the optimizer's arguments are wrong.
    """

    def __init__(self, config: Config, task: Task, device: torch.device, observer: Observer) -> None:
        self.config = config
        self.task = task
        self.device = device
        self.observer = observer
        seed = config.experiment.seed
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        self.model = task.build_model().to(device)
        self.optimizer = optim.create_optimizer(
            self.model, config.optimizer, config.given.get("optimizer", {}), config.train.matrices
        )
        # Described before a scheduler adds entries to the groups.
        self.groups = optim.describe_groups(self.optimizer)
        self.total_steps = config.train.epochs * task.steps_per_epoch
        if config.train.max_steps is not None:
            self.total_steps = min(self.total_steps, config.train.max_steps)
        self.scheduler = create_scheduler(self.optimizer, config.scheduler, self.total_steps)
        self.step = 0
        self.epoch_step = 0
        self.target_reached = False
        self.recorder = Recorder(config, task.classes, observer)
        self._state_checked = False
        # On a CPU figures are read without waiting.
        self._read_every = 1 if device.type == "cpu" else config.train.log_every
        self._interrupts = InterruptGuard()
        self._environment_recorded = False
        self.called_ops = CalledOps()

    def resume(self, run: RunFolder) -> None:
        """Return to the run's newest whole checkpoint, or to the start where it has none.

        Raises:
            UserError: the texts have changed since, or no checkpoint can be read.
        """
        for read in (run.steps, run.epochs, run.evaluations):
            read()  # reports a damaged record before anything changes
        remove_leftovers(run.checkpoints)
        checkpoint = latest_checkpoint(run.checkpoints, self.observer.message)
        if checkpoint is not None:
            restore_state(self, checkpoint, run)
        # "running" first: the records that are dropped below would be missing from a finished run.
        self._set_status(run, "running")
        run.truncate(self.step, mid_epoch=self.epoch_step > 0)

    def run(self, run: RunFolder) -> str:
        """Train to the end or the target, or until Ctrl-C or a figure that is not finite.

        Returns:
            The state that the run is left in: "finished", "interrupted" or "non_finite".

        Raises:
            Exception: whatever the model, the optimizer or the disk raises; the run is left in the state
                "failed", with a message.
        """
        try:
            self.observer.start(self.config.task, self.step, self.total_steps)
            self._set_status(run, "running")
            state, message = self._train(run)
            self._record_environment(run)
            self._set_status(run, state, message)
        except StopTraining:
            raise
        except BaseException as error:
            record_failure(run, self.step, error, self.recorder.divergence.step)
            raise
        return state

    def _train(self, run: RunFolder) -> tuple[str, str]:
        """Train to the end; returns the state that the run ends in, and a message or ""."""
        try:
            try:
                with self._interrupts.listening():
                    while not self._is_over() or self.epoch_step:
                        self._run_epoch(run)
            except Interrupted:
                save_state(self, run)
                return "interrupted", ""
        except NonFiniteError as error:
            return "non_finite", str(error)
        return "finished", ""

    def _set_status(self, run: RunFolder, state: str, message: str = "") -> None:
        run.set_status(state, self.step, message, diverged_at=self.recorder.divergence.step)

    def _run_epoch(self, run: RunFolder) -> None:
        """The rest of the current epoch, its evaluation, its record and its checkpoint."""
        epoch = (self.step - self.epoch_step) // self.task.steps_per_epoch
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._run_steps(run, epoch)
        evaluation: dict[str, Any] = {}
        over = self._is_over()
        for name in self.task.evaluation_splits():
            if name == "validation" or over:  # the test split is evaluated once, after training
                evaluation[name] = self._evaluate(name)
                over = over or self._reaches_target({"evaluation": evaluation})
        cosines = {k: float(v) for k, v in optim.measurements(self.optimizer).items() if k.startswith("cos_")}
        record = self.recorder.epoch_record(epoch, self.step, self.device, cosines, evaluation)
        run.append_epoch(record)
        self.target_reached = self._reaches_target(record)
        if not self._environment_recorded and not self._is_over():
            self._record_environment(run)
        self.observer.epoch(record)
        self.epoch_step = 0
        self.recorder.end_epoch()
        if self._is_over() or (epoch + 1) % self.config.train.ckpt_every == 0:
            save_state(self, run)

    def _run_steps(self, run: RunFolder, epoch: int) -> None:
        """The steps that are left of an epoch, and the evaluations and checkpoints between them."""
        every = self.config.train.ckpt_every_steps
        steps = prefetched(self.task.training_steps(epoch, self.epoch_step), self.device)
        while not self._epoch_is_over():
            if self._evaluation_due():
                evaluation = {"validation": self._evaluate("validation")}
                run.append_evaluation(self.recorder.evaluation_record(epoch, self.step, evaluation))
            self.recorder.begin()  # a step's time includes the wait for its batches
            self._train_step(epoch, next(steps))
            at_the_end = self._epoch_is_over()
            save = every and self.step % every == 0 and not at_the_end
            due = self.step % self._read_every == 0 or at_the_end or save or self._evaluation_due()
            if due or self._interrupts.requested:
                self.recorder.read(run)
            if self._interrupts.requested:
                raise Interrupted
            if save:
                save_state(self, run)

    def _train_step(self, epoch: int, batches: list[Batch]) -> None:
        """Launch one optimizer step and hand its figures to the recorder, without waiting for the device."""
        learning_rate = self.optimizer.param_groups[0]["lr"]
        step = optimizer_step(self.model, self.task, self.config, self.optimizer, batches)
        if not self._state_checked:
            optim.check_storable(self.optimizer, self.config.optimizer.name)
            self._state_checked = True
        self.scheduler.step()
        self.step += 1
        self.epoch_step += 1
        step.figures = {"step": self.step, "epoch": epoch + 1, "lr": learning_rate} | step.figures
        self.recorder.add(step)

    def _evaluation_due(self) -> bool:
        """Whether an evaluation within the epoch follows the last step."""
        every = self.config.train.eval_every_steps
        return every is not None and self.epoch_step > 0 and self.step % every == 0

    def _evaluate(self, split: str) -> dict[str, Any]:
        """The figures of a split; Ctrl-C stops the evaluation at once."""
        started = time.perf_counter()
        self.observer.evaluating(split)
        with evaluation_weights(self.model, self.optimizer), self._interrupts.at_once():
            figures = evaluate(self.model, self.task, self.config, split, self.device)
        self.recorder.totals.evaluation_seconds += time.perf_counter() - started
        return figures

    def _reaches_target(self, record: dict[str, Any]) -> bool:
        """Whether an epoch's record is as good as `train.stop_at`."""
        deciding, target = METRICS[task_name(self.config.task)][0], self.config.train.stop_at
        value = deciding.value(record)
        return target is not None and value is not None and deciding.reaches(value, target)

    def _epoch_is_over(self) -> bool:
        return self.epoch_step == self.task.steps_per_epoch or self.step >= self.total_steps

    def _is_over(self) -> bool:
        return self.target_reached or self.step >= self.total_steps

    def _record_environment(self, run: RunFolder) -> None:
        """Record versions, machine and backends; which ops the run calls is clear only after some steps."""
        # Not after every epoch: it asks git for the commit, which may take longer than a small epoch.
        run.set_environment(environment(self.device, self.called_ops.names()))
        self._environment_recorded = True
