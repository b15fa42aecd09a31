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
from arsbench.errors import UserError
from arsbench.metrics import METRICS, task_name
from arsbench.runs.checks import TRAINING_STATE
from arsbench.runs.folder import RunFolder
from arsbench.tasks import Task
from arsbench.training.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    random_states,
    remove_leftovers,
    restore_random_states,
    save_checkpoint,
)
from arsbench.training.evaluate import evaluate
from arsbench.training.failure import record_failure
from arsbench.training.interrupt import Interrupted, InterruptGuard
from arsbench.training.metrics import peak_memory
from arsbench.training.observer import Observer, StopTraining
from arsbench.training.optimizer_step import optimizer_step
from arsbench.training.passes import autocast, count_targets
from arsbench.training.prefetch import Batch, prefetched
from arsbench.training.readings import Step
from arsbench.training.recorder import NonFiniteError, Recorder
from arsbench.training.schedule import create_scheduler
from arsbench.training.weights import evaluation_weights, restore_training


class Trainer:
    """One run of a configuration on a task.

    The state is a function of the configuration and the number of steps alone: a run that is stopped and
    resumed, at whatever step, computes the same bits as one that is not.

    Args:
        config: what to run.
        task: its data, model and loss.
        device: where to run it.
        observer: told of what happens.

    Attributes:
        groups: the parameter groups as they are recorded.

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
        # Described before a scheduler adds entries of its own.
        self.groups = optim.describe_groups(self.optimizer)
        self.total_steps = config.train.epochs * task.steps_per_epoch
        if config.train.max_steps is not None:
            self.total_steps = min(self.total_steps, config.train.max_steps)
        self.scheduler = create_scheduler(self.optimizer, config.scheduler, self.total_steps)
        self.step = 0
        self.epoch_step = 0  # optimizer steps already taken in the current epoch
        self.target_reached = False  # an epoch's deciding metric was as good as `train.stop_at`
        self._recorder = Recorder(task, config.train.log_every, observer)
        self._state_checked = False
        # Reading a CPU's figures costs nothing.
        self._read_every = 1 if device.type == "cpu" else config.train.log_every
        self._interrupts = InterruptGuard()
        self._environment_recorded = False
        self._called = CalledOps()

    def resume(self, run: RunFolder) -> None:
        """Go back to the run's newest whole checkpoint, or to the start where it has none.

        Raises:
            UserError: the texts have changed since, or no checkpoint can be read.
        """
        for read in (run.steps, run.epochs, run.evaluations):
            read()  # a damaged record is named before anything changes
        remove_leftovers(run.checkpoints)
        checkpoint = latest_checkpoint(run.checkpoints, self.observer.message)
        if checkpoint is not None:
            self._restore(checkpoint, run)
        # What was recorded after the checkpoint will be computed again. Of a finished run it would be missed.
        self._set_status(run, "running")
        run.truncate(self.step, mid_epoch=self.epoch_step > 0)

    def run(self, run: RunFolder) -> str:
        """Train to the end or the target, or until Ctrl-C, or until a number is not finite.

        Returns:
            The state that the run is left in: "finished", "interrupted" or "non_finite".

        Raises:
            Exception: whatever the model, the optimizer or the disk raises; the run is left in the state
                "failed", with a message.
        """
        try:
            self.observer.start(self.task.name, self.step, self.total_steps)
            self._set_status(run, "running")
            state, message = self._train(run)
            self._record_environment(run)
            self._set_status(run, state, message)
        except StopTraining:
            raise
        except BaseException as error:
            record_failure(run, self.step, error, self._recorder.divergence.step)
            raise
        return state

    def _train(self, run: RunFolder) -> tuple[str, str]:
        """All that is left of the run; returns the state that it ends in, and a message or ""."""
        try:
            try:
                with self._interrupts.listening():
                    while not self._is_over() or self.epoch_step:
                        self._run_epoch(run)
            except Interrupted:
                self._save(run)
                return "interrupted", ""
        except NonFiniteError as error:
            return "non_finite", str(error)
        return "finished", ""

    def _set_status(self, run: RunFolder, state: str, message: str = "") -> None:
        run.set_status(state, self.step, message, diverged_at=self._recorder.divergence.step)

    def _run_epoch(self, run: RunFolder) -> None:
        """The rest of the current epoch, its evaluation, its record and its checkpoint."""
        train = self.config.train
        epoch = self._epochs_done()
        steps = self.task.training_steps(epoch, self.epoch_step)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        for batches in prefetched(steps, self.device):
            if self.step == self.total_steps:
                break
            self._evaluate_midway(run, epoch)
            self._train_step(epoch, batches)
            at_the_end = self.epoch_step == self.task.steps_per_epoch or self.step == self.total_steps
            save = train.ckpt_every_steps and self.step % train.ckpt_every_steps == 0 and not at_the_end
            due = self.step % self._read_every == 0 or at_the_end or save or self._evaluation_due()
            if due or self._interrupts.requested:
                self._recorder.read(run)
            if self._interrupts.requested:
                raise Interrupted
            if save:
                self._save(run)
        record = self._epoch_record(epoch)
        run.append_epoch(record)
        self.target_reached = self._reaches_target(record)
        if not self._environment_recorded and not self._is_over():
            self._record_environment(run)
        self.observer.epoch(record)
        self.epoch_step = 0
        self._recorder.end_epoch()
        if self._is_over() or (epoch + 1) % train.ckpt_every == 0:
            self._save(run)

    def _train_step(self, epoch: int, batches: list[Batch]) -> None:
        """One optimizer step, and what is known of it without waiting for the device."""
        self._recorder.begin()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        outcome = optimizer_step(self.model, self.task, self.config, self.optimizer, batches)
        if not self._state_checked:
            optim.check_storable(self.optimizer, self.config.optimizer.name)
            self._state_checked = True
        self.scheduler.step()
        self.step += 1
        self.epoch_step += 1
        record = {
            "step": self.step,
            "epoch": epoch + 1,
            "lr": learning_rate,
            "forward_backward_passes": outcome.passes,
            "tokens": count_targets(batches),
        }
        self._recorder.add(Step(record, outcome.figures, outcome.diagnostics))

    def _evaluation_due(self) -> bool:
        """Whether the last step is followed by an evaluation; the one of an epoch's end is another matter."""
        every = self.config.train.eval_every_steps
        return every is not None and self.epoch_step > 0 and self.step % every == 0

    def _evaluate_midway(self, run: RunFolder, epoch: int) -> None:
        """Evaluate before the epoch's next step, if that is due."""
        if not self._evaluation_due():
            return
        started = time.perf_counter()
        evaluation = {"validation": self._evaluate("validation")}
        self._recorder.metrics.evaluation_seconds += time.perf_counter() - started
        run.append_evaluation(self._recorder.evaluation_record(epoch, self.step, evaluation))

    def _evaluate(self, split: str) -> dict[str, Any]:
        """The figures of a split; Ctrl-C ends it at once."""
        self.observer.evaluating(split)
        with evaluation_weights(self.model, self.optimizer), self._interrupts.at_once():
            return evaluate(
                self.model,
                self.task,
                self.task.evaluation_splits()[split],
                self.device,
                autocast(self.config, self.device),
            )

    def _epoch_record(self, epoch: int) -> dict[str, Any]:
        """Evaluate (the test split only once training is over) and put the epoch's record together."""
        started = time.perf_counter()
        evaluation: dict[str, Any] = {}
        over = self._is_over()
        for name in self.task.evaluation_splits():
            if name == "validation" or over:
                evaluation[name] = self._evaluate(name)
                over = over or self._reaches_target({"evaluation": evaluation})
        self._recorder.metrics.evaluation_seconds += time.perf_counter() - started
        cosines = {k: float(v) for k, v in optim.measurements(self.optimizer).items() if k.startswith("cos_")}
        memory = peak_memory(self.device)
        return self._recorder.epoch_record(epoch, self.step, memory, cosines, evaluation)

    def _reaches_target(self, record: dict[str, Any]) -> bool:
        """Whether an epoch's record is as good as `train.stop_at`."""
        deciding, target = METRICS[task_name(self.task.name)][0], self.config.train.stop_at
        value = deciding.value(record)
        return target is not None and value is not None and deciding.reaches(value, target)

    def _is_over(self) -> bool:
        return self.target_reached or self.step >= self.total_steps

    def _record_environment(self, run: RunFolder) -> None:
        """Record what the run runs on; which ops it calls is known only after some steps."""
        # Not after every epoch: it asks git for the commit, which may take longer than a small epoch.
        run.set_environment(environment(self.device, self._called.names()))
        self._environment_recorded = True

    def _epochs_done(self) -> int:
        """Complete epochs before the current one, by the steps taken before it began."""
        return (self.step - self.epoch_step) // self.task.steps_per_epoch

    def _save(self, run: RunFolder) -> None:
        """Write a checkpoint of this very moment; one with broken weights is never written."""
        with evaluation_weights(self.model, self.optimizer) as training_weights:
            with torch.no_grad():
                if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
                    raise NonFiniteError(f"a weight is no longer finite after step {self.step}")
            state = {
                "optimizer_name": self.config.optimizer.name,
                "optimizer": self.optimizer.state_dict(),
                "random": random_states(),
                "step": self.step,
                "epoch_step": self.epoch_step,
                "target_reached": self.target_reached,
                **self._recorder.state_dict(),
                "ops": sorted(self._called.names()),
                "data": self.task.fingerprint(),
            }
            if training_weights is not None:
                state["training_weights"] = training_weights
            save_checkpoint(run.checkpoints, self.step, self.model, state, self.config.train.keep_checkpoints)

    def _restore(self, checkpoint: Checkpoint, run: RunFolder) -> None:
        state = checkpoint.load_state(TRAINING_STATE)
        name = self.config.optimizer.name
        if state.get("optimizer_name", name) != name:  # unknown to older checkpoints
            raise UserError(
                f"{checkpoint.path} was saved by a run of {state['optimizer_name']!r}, not of {name!r}; "
                f"put the run's own checkpoint back, or start a new run"
            )
        changed = self.task.changed_since(state["data"])
        if changed:
            raise UserError(
                f"the data has changed since {checkpoint.path} was saved ({', '.join(changed)}); "
                f"put it back, or start a new run"
            )
        checkpoint.load_weights(self.model)
        self.step, self.epoch_step = state["step"], state["epoch_step"]
        # What follows is unknown to older checkpoints.
        self.target_reached = state.get("target_reached", False)
        self._called = CalledOps(state.get("ops", ()))
        with checkpoint.restoring():
            if self.epoch_step > min(self.step, self.task.steps_per_epoch):
                raise ValueError(f"epoch_step is {self.epoch_step}, step {self.step}")
            optim.load_state(self.optimizer, state["optimizer"])
            if "training_weights" in state:
                restore_training(self.model, self.optimizer, state["training_weights"])
            restore_random_states(state["random"])
            self._recorder.load_state_dict(state, run)
            self.scheduler = create_scheduler(
                self.optimizer, self.config.scheduler, self.total_steps, self.step
            )
