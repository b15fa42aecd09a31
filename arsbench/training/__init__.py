"""Training: the loop, what it measures, and how runs start, stop and go on."""

from arsbench.training.failure import describe_failure
from arsbench.training.memory import check_memory
from arsbench.training.observer import Observer, StopTraining
from arsbench.training.restore import evaluate_run, export_run, load_model, sample_run
from arsbench.training.start import (
    check_resumable,
    choose_device,
    held_run,
    new_run,
    prepare_trainer,
    resumed_run,
)
from arsbench.training.trainer import Trainer

__all__ = [
    "Observer",
    "StopTraining",
    "Trainer",
    "check_memory",
    "check_resumable",
    "choose_device",
    "describe_failure",
    "evaluate_run",
    "export_run",
    "held_run",
    "load_model",
    "new_run",
    "prepare_trainer",
    "resumed_run",
    "sample_run",
]
