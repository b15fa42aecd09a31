"""Tasks by name: what is trained on what, behind one interface (`task.Task`)."""

from __future__ import annotations

from arsbench.config import Config
from arsbench.errors import UserError
from arsbench.metrics import task_name
from arsbench.runs.folder import RunFolder
from arsbench.tasks.mod_addition import ModAddition
from arsbench.tasks.task import Output, Split, Task
from arsbench.tasks.wikitext2_line import WikiText2Line

__all__ = ["TASKS", "ModAddition", "Output", "Split", "Task", "WikiText2Line", "prepare_task", "restore_task"]

TASKS: dict[str, type[Task]] = {"wikitext2_line": WikiText2Line, "mod_addition": ModAddition}


def prepare_task(config: Config) -> Task:
    """The configuration's task, ready to train.

    Raises:
        UserError: the task is unknown, or its data cannot be had.
    """
    return _task_class(config).prepare(config)


def restore_task(config: Config, run: RunFolder) -> Task:
    """The task of a run, with what the run has stored of it.

    Raises:
        UserError: the task is unknown, or its data or what the run had stored cannot be had.
    """
    return _task_class(config).restore(config, run)


def _task_class(config: Config) -> type[Task]:
    name = task_name(config.task)  # a label in brackets is for the reader alone
    if name not in TASKS:
        raise UserError(f"experiment.tasks names {config.task!r}; known are {', '.join(TASKS)}")
    return TASKS[name]
