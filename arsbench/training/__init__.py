"""Training: the loop, its figures, starting and resuming a run, and using a finished one."""

from arsbench.training.finished_run import evaluate_run, export_run, load_model, sample_run
from arsbench.training.memory import check_memory
from arsbench.training.observer import Observer, StopTraining
from arsbench.training.start import (
    check_resumable,
    choose_device,
    create_trainer,
    held_run,
    new_run,
    resumed_run,
)
from arsbench.training.stopping import describe_failure
from arsbench.training.trainer import Trainer

__all__ = [
    "Observer",
    "StopTraining",
    "Trainer",
    "check_memory",
    "check_resumable",
    "choose_device",
    "create_trainer",
    "describe_failure",
    "evaluate_run",
    "export_run",
    "held_run",
    "load_model",
    "new_run",
    "resumed_run",
    "sample_run",
]
