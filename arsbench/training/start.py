"""Starting and resuming a run: the configuration, the device, the folder, the trainer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from arsbench.config import Config, effective
from arsbench.config.hyperparameters import default_second_moment
from arsbench.config.optimizers import is_third_party, optimizer_keys
from arsbench.environment import environment, give_back_large_memory
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder
from arsbench.runs.lock import locked
from arsbench.runs.paths import claimed_run, is_vacant
from arsbench.tasks import prepare_task
from arsbench.training.memory import check_memory
from arsbench.training.observer import Observer
from arsbench.training.trainer import Trainer

# The one key that a resumed run may change: it trains on from where it ended.
MAY_CHANGE = ("train", "epochs")


@contextlib.contextmanager
def held_run(
    path: Path, config: Config, observer: Observer, *, resume: bool, made: bool = False
) -> Iterator[tuple[RunFolder, Trainer]]:
    """A run and its trainer; inside the block no other process writes to the run's folder.

    Args:
        path: the run's folder. A new run needs one that does not exist yet or is vacant.
        config: what to run.
        observer: told of what happens.
        resume: whether to resume the run in the folder, if one has started there.
        made: whether `path` was made for this run, and is to be removed if the run does not start.

    Raises:
        UserError: another process writes to the folder (the message says which), the folder holds something
            else, or the run, its data or its device do not allow it. A new run has then left nothing.
    """
    if resume and path.exists() and not is_vacant(path):
        RunFolder.open(path)  # before the lock's file is made in what may be somebody else's folder
        with locked(path):
            run = RunFolder.open(path)
            run.remove_temporaries()
            config = check_resumable(run, config)
            trainer = prepare_trainer(config, observer)
            resumed_run(run, config, trainer)
            yield run, trainer
    else:
        with claimed_run(path, made=made):
            trainer = prepare_trainer(config, observer)
            yield new_run(path, config, trainer), trainer


def choose_device(name: str) -> torch.device:
    """The device that `experiment.device` means on this machine.

    Raises:
        UserError: "cuda" where torch sees no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError('experiment.device is "cuda" but torch sees no GPU; add --set experiment.device=cpu')
    return torch.device(name)


def prepare_trainer(config: Config, observer: Observer) -> Trainer:
    """The trainer of a configuration, its data read and its model initialised.

    Raises:
        UserError: data, device, model or optimizer cannot be had, or they cannot fit into memory.
    """
    device = choose_device(config.experiment.device)
    give_back_large_memory()
    if config.experiment.deterministic:
        # cuBLAS reads this before its first use, and torch refuses to be deterministic without it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(config.experiment.deterministic)
    check_memory(config, device)
    task = prepare_task(config)
    check_memory(config, device, task.classes)
    return Trainer(config, task, device, observer)


def as_run(config: Config) -> dict[str, dict[str, Any]]:
    """The configuration with every default, without keys that its optimizer does not have.

    Raises:
        UserError: the optimizer is unknown.
    """
    tables = effective(config)
    if not is_third_party(tables["optimizer"]):
        known = {"name", *optimizer_keys(config.optimizer.name)}
        optimizer = {key: value for key, value in tables["optimizer"].items() if key in known}
        if optimizer.get("second_moment", "") is None:
            optimizer["second_moment"] = default_second_moment(optimizer["adaptive_sync"])
        tables["optimizer"] = optimizer
    return tables


def new_run(path: Path, config: Config, trainer: Trainer) -> RunFolder:
    """A run folder for a run that begins.

    Raises:
        UserError: the folder exists already, or cannot be made.
    """
    run = RunFolder.create(
        path,
        config=config.given,
        effective=as_run(config),
        environment=environment(trainer.device),
        groups=trainer.groups,
    )
    trainer.task.store(run)
    return run


def check_resumable(run: RunFolder, config: Config) -> Config:
    """Refuse to resume a run under another configuration than its own, or without its weights.

    Returns:
        the configuration to resume with: `config`, and the run's own values of what it leaves open.

    Raises:
        UserError: names every key that differs, but for more epochs; or a run that has ended without
            failing, such as one read back from a report, has no checkpoint, and would be written anew from
            its beginning.
    """
    status = run.status
    begins_anew = status["state"] in ("running", "failed") and "from_report" not in status
    if not begins_anew and not any(run.checkpoints.glob("*")):
        raise UserError(
            f"{run.path} has ended and has no checkpoint to go on from; restore its checkpoints, or train "
            f"into another folder"
        )
    differences = []
    before = run.effective
    stored = before.get("optimizer", {}).get("second_moment")
    if config.optimizer.second_moment is None and stored is not None:
        config = replace(config, optimizer=replace(config.optimizer, second_moment=stored))
    now, defaults = as_run(config), effective(Config())
    for section, table in now.items():
        old_table = before.get(section, {})
        if not is_third_party(table):
            # A key that the version before did not know had, in effect, its default.
            old_table = {key: old_table.get(key, defaults[section][key]) for key in table}
        for key in dict.fromkeys((*old_table, *table)):
            old, new = old_table.get(key), table.get(key)
            allowed = (section, key) == MAY_CHANGE and isinstance(old, int) and new >= old
            if old != new and not allowed:
                differences.append(f"{section}.{key} was {_shown(old)} and is now {_shown(new)}")
    if differences:
        raise UserError(
            f"{run.path} cannot be resumed under another configuration: {'; '.join(differences)}; "
            f"only train.epochs may grow"
        )
    return config


def resumed_run(run: RunFolder, config: Config, trainer: Trainer) -> None:
    """Point the trainer at the run's last checkpoint and store the (perhaps longer) configuration."""
    trainer.resume(run)
    trainer.task.store(run)  # unless the process died while it made the folder, it is there
    run.reconfigure(config=config.given, effective=as_run(config))


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
