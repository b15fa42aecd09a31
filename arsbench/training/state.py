"""The state of a trainer: what a checkpoint saves and restores, and which weights are evaluated."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from arsbench import optim
from arsbench.environment import CalledOps
from arsbench.errors import UserError
from arsbench.runs.checks import TRAINING_STATE
from arsbench.runs.folder import RunFolder
from arsbench.tasks import changed_names
from arsbench.training.checkpoint import Checkpoint, save_checkpoint
from arsbench.training.recorder import NonFiniteError
from arsbench.training.schedule import create_scheduler

if TYPE_CHECKING:
    from arsbench.training.trainer import Trainer


def save_state(trainer: Trainer, run: RunFolder) -> None:
    """Write a checkpoint of the trainer's current state.

    Raises:
        NonFiniteError: a weight is not finite; nothing is written.
        UserError: the checkpoint cannot be written.
    """
    model, config = trainer.model, trainer.config
    with evaluation_weights(model, trainer.optimizer) as training_weights:
        with torch.no_grad():
            if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
                raise NonFiniteError(f"a weight is no longer finite after step {trainer.step}")
        state = {
            "optimizer_name": config.optimizer.name,
            "optimizer": trainer.optimizer.state_dict(),
            "random": random_states(trainer.device),
            "step": trainer.step,
            "epoch_step": trainer.epoch_step,
            "target_reached": trainer.target_reached,
            **trainer.recorder.state_dict(),
            "ops": sorted(trainer.called_ops.names()),
            "data": trainer.task.fingerprint(),
        }
        if training_weights is not None:
            state["training_weights"] = training_weights
        save_checkpoint(run.checkpoints, trainer.step, model, state, config.train.keep_checkpoints)


def restore_state(trainer: Trainer, checkpoint: Checkpoint, run: RunFolder) -> None:
    """Put a new trainer into the state that `save_state` wrote, in this version or an older one.

    Args:
        trainer: one that has taken no step.
        checkpoint: the run's.
        run: its recorded steps.

    Raises:
        UserError: the state is damaged, belongs to another optimizer, or the data has changed since.
    """
    state = checkpoint.load_state(TRAINING_STATE)
    name = trainer.config.optimizer.name
    if state.get("optimizer_name", name) != name:  # older checkpoints lack it
        raise UserError(
            f"{checkpoint.path} was saved by a run of {state['optimizer_name']!r}, not of {name!r}; "
            f"restore this run's checkpoint, or start a new run"
        )
    changed = changed_names(state["data"], trainer.task.fingerprint())
    if changed:
        raise UserError(
            f"the data has changed since {checkpoint.path} was saved ({', '.join(changed)}); "
            f"put it back, or start a new run"
        )
    checkpoint.load_weights(trainer.model)
    trainer.step, trainer.epoch_step = state["step"], state["epoch_step"]
    # Older checkpoints lack these two.
    trainer.target_reached = state.get("target_reached", False)
    trainer.called_ops = CalledOps(state.get("ops", ()))
    with checkpoint.restoring():
        if trainer.epoch_step > min(trainer.step, trainer.task.steps_per_epoch):
            raise ValueError(f"epoch_step is {trainer.epoch_step}, step {trainer.step}")
        optim.load_state(trainer.optimizer, state["optimizer"])
        if "training_weights" in state:
            restore_training(trainer.model, trainer.optimizer, state["training_weights"])
        restore_random_states(state["random"], trainer.device)
        trainer.recorder.load_state_dict(state, run)
        trainer.scheduler = create_scheduler(
            trainer.optimizer, trainer.config.scheduler, trainer.total_steps, trainer.step
        )


def random_states(device: torch.device) -> dict[str, Any]:
    """States of the generators that training on `device` may draw from, as a checkpoint can hold them."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Continue every generator that training on `device` uses where `random_states` read it.

    Raises:
        Exception: of many types, if `states` is not from `random_states`, of this version or an older one.
    """
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, *rest = states["numpy"]
    if not 0 <= position <= len(keys):  # numpy does not check it, and would read other memory
        raise ValueError(f"the position of numpy's generator is {position}")
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, *rest))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        cuda = states["cuda"]
        if isinstance(cuda, list):  # from an older version: the state of each GPU
            cuda = cuda[index] if index < len(cuda) else None
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, index)


@contextlib.contextmanager
def evaluation_weights(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[dict[str, Tensor] | None]:
    """Give the model the weights that the optimizer wants evaluated and saved.

    An optimizer that has `train()` and `eval()`, such as a schedule-free one, is in evaluation mode inside
    the block. After the block it is in training mode, and the model has exactly the weights from before:
    `train()` alone may round them, and then a run would depend on when it was evaluated or interrupted. A
    checkpoint therefore holds both: the model and the optimizer's state in evaluation mode, and the training
    weights for `restore_training`.

    Args:
        model: its weights are changed in place.
        optimizer: in training mode.

    Yields:
        copies of the training weights by name, or None if the optimizer has no such modes.
    """
    switch = optim.mode_switch(optimizer)
    if switch is None:
        yield None
        return
    training = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        switch.eval()
        yield training
    finally:
        restore_training(model, optimizer, training)


@torch.no_grad()
def restore_training(
    model: nn.Module, optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]
) -> None:
    """Switch an optimizer that has modes to training, and put `weights`, by name, into the model in place."""
    optim.mode_switch(optimizer).train()
    for name, p in model.named_parameters():
        p.copy_(weights[name])
