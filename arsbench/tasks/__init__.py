"""Tasks by name, behind one interface (`task.Task`): data, model, loss and metrics."""

from __future__ import annotations

from collections.abc import Callable

from arsbench.config import Config
from arsbench.errors import UserError
from arsbench.metrics import task_name
from arsbench.runs.folder import RunFolder
from arsbench.tasks.mod_addition import ModAddition
from arsbench.tasks.task import EvaluationSplit, Task, changed_names
from arsbench.tasks.wikitext2_line import WikiText2Line

__all__ = ["TASKS", "EvaluationSplit", "ModAddition", "Task", "WikiText2Line", "changed_names", "create_task"]

TASKS: dict[str, Callable[..., Task]] = {"wikitext2_line": WikiText2Line, "mod_addition": ModAddition}


def create_task(config: Config, run: RunFolder | None = None) -> Task:
    """The configuration's task with its data read.

    Args:
        config: the run's configuration.
        run: a stored run; what its folder holds of the task's data is used.

    Raises:
        UserError: the task is unknown, does not fit the configuration, or its data cannot be read.
    """
    name = task_name(config.task)  # the label in brackets is for readers only
    if name not in TASKS:
        raise UserError(f"experiment.tasks is [{config.task!r}]; the task must be one of {', '.join(TASKS)}")
    return TASKS[name](config, run)
