"""Tasks: data, model and metrics behind one interface."""

from __future__ import annotations

import re

from arsbench.config import Config
from arsbench.errors import UserError
from arsbench.tasks.wikitext2_line import WikiText2Line

TASKS = {"wikitext2_line": WikiText2Line}


def prepare_task(config: Config) -> WikiText2Line:
    """The configuration's task, ready to train.

    Raises:
        UserError: the task is unknown, or its data cannot be had.
    """
    # A label in brackets ("wikitext2_line (mini)") is for the reader alone.
    name = re.sub(r"\s*\([^()]*\)$", "", config.task)
    if name not in TASKS:
        raise UserError(f"experiment.tasks names {config.task!r}; known are {', '.join(TASKS)}")
    return TASKS[name].prepare(config)
