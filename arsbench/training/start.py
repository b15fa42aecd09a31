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
from arsbench.config.hyperparameters import default_second_moment, is_third_party, optimizer_keys
from arsbench.environment import environment, give_back_large_memory
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder
from arsbench.runs.lock import locked
from arsbench.runs.paths import claimed_run, is_vacant
from arsbench.tasks import create_task
from arsbench.training.memory import check_memory
from arsbench.training.observer import Observer
from arsbench.training.trainer import Trainer


@contextlib.contextmanager
def held_run(
    path: Path, config: Config, observer: Observer, *, resume: bool, made: bool = False
) -> Iterator[tuple[RunFolder, Trainer]]:
    """A run and its trainer; inside the block no other process writes to the run's folder.

    Args:
        path: the run's folder. A new run needs one that does not exist or is vacant.
        config: the run's configuration.
        observer: receives the run's events.
        resume: resume the run in the folder, if one has started there.
        made: `path` was made for this run: remove it if the run does not start.

    Raises:
        UserError: another process writes to the folder (the message names it), the folder holds other
            files, or the configuration, the data or the device do not allow the run. A new run then leaves
            nothing behind.
    """
    if resume and path.exists() and not is_vacant(path):
        RunFolder.open(path)  # before the lock file is made: this may not be a run's folder
        with locked(path):
            run = RunFolder.open(path)
            run.remove_temporaries()
            config = check_resumable(run, config)
            trainer = create_trainer(config, observer)
            resumed_run(run, config, trainer)
            yield run, trainer
    else:
        with claimed_run(path, made=made):
            trainer = create_trainer(config, observer)
            yield new_run(path, config, trainer), trainer


def choose_device(name: str) -> torch.device:
    """The device that `experiment.device` means on this machine.

    Raises:
        UserError: it is "cuda" and torch sees no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError('experiment.device is "cuda" but torch sees no GPU; add --set experiment.device=cpu')
    return torch.device(name)


def create_trainer(config: Config, observer: Observer) -> Trainer:
    """The trainer of a configuration, its data read and its model initialised.

    Raises:
        UserError: the data, device, model or optimizer is not available, or does not fit into memory.
    """
    device = choose_device(config.experiment.device)
    give_back_large_memory()
    if config.experiment.deterministic:
        # cuBLAS reads this before its first use, and torch refuses to be deterministic without it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Not torch.use_deterministic_algorithms, which imports the compiler: more than a second of every start.
    torch.set_deterministic_debug_mode("error" if config.experiment.deterministic else "default")
    check_memory(config, device)
    task = create_task(config)
    check_memory(config, device, task.classes)
    return Trainer(config, task, device, observer)


def effective_tables(config: Config) -> dict[str, dict[str, Any]]:
    """The effective configuration: every default, and only the keys that its optimizer has.

    Raises:
        UserError: the optimizer is unknown.
    """
    tables = effective(config)
    if not is_third_party(tables["optimizer"]):
        keys = {"name", *optimizer_keys(config.optimizer.name)}
        optimizer = {key: value for key, value in tables["optimizer"].items() if key in keys}
        if optimizer.get("second_moment", "") is None:
            optimizer["second_moment"] = default_second_moment(optimizer["adaptive_sync"])
        tables["optimizer"] = optimizer
    return tables


def new_run(path: Path, config: Config, trainer: Trainer) -> RunFolder:
    """The folder of a new run.

    Raises:
        UserError: the folder exists already, or cannot be made.
    """
    run = RunFolder.create(
        path,
        config=config.given,
        effective=effective_tables(config),
        environment=environment(trainer.device),
        groups=trainer.groups,
    )
    trainer.task.store(run)
    return run


def check_resumable(run: RunFolder, config: Config) -> Config:
    """Refuse to resume a run with a different configuration, or one that lost its checkpoints.

    Returns:
        the configuration to resume with: `config`, completed from the run where it leaves a choice open.

    Raises:
        UserError: a key differs (the message names each one) and is not a larger `train.epochs`; or the run
            has ended without failing (or was imported from a report) and has no checkpoint, so that resuming
            would overwrite it from step 0.
    """
    status = run.status
    may_restart = status["state"] in ("running", "failed") and "from_report" not in status
    if not may_restart and not any(run.checkpoints.glob("*")):
        raise UserError(
            f"{run.path} has ended and has no checkpoint to resume from; restore its checkpoints, or train "
            f"into another folder"
        )
    differences = []
    before = run.effective
    stored = before.get("optimizer", {}).get("second_moment")
    if config.optimizer.second_moment is None and stored is not None:
        config = replace(config, optimizer=replace(config.optimizer, second_moment=stored))
    now, defaults = effective_tables(config), effective(Config())
    for section, table in now.items():
        old_table = before.get(section, {})
        if not is_third_party(table):
            # A key that the run's version lacked had, in effect, its default.
            old_table = {key: old_table.get(key, defaults[section][key]) for key in table}
        for key in dict.fromkeys((*old_table, *table)):
            old, new = old_table.get(key), table.get(key)
            longer = (section, key) == ("train", "epochs") and isinstance(old, int) and new >= old
            if old != new and not longer:
                differences.append(f"{section}.{key} was {_shown(old)} and is now {_shown(new)}")
    if differences:
        raise UserError(
            f"{run.path} cannot be resumed with a different configuration: {'; '.join(differences)}; "
            f"restore these values (only train.epochs may grow)"
        )
    return config


def resumed_run(run: RunFolder, config: Config, trainer: Trainer) -> None:
    """Restore the trainer from the run's newest checkpoint, and store the configuration."""
    trainer.resume(run)
    trainer.task.store(run)  # missing if the process died while it made the folder
    run.reconfigure(config=config.given, effective=effective_tables(config))


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
