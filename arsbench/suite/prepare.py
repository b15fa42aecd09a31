"""Tries what a suite's workers will do: reads and caches the data, makes every contender's optimizer.

python -m arsbench.suite.prepare    configurations on standard input, as JSON
"""

from __future__ import annotations

import json
import sys
from typing import Any

from arsbench.config import Config, config_from_dict
from arsbench.errors import UserError
from arsbench.optim import create_optimizer
from arsbench.tasks import Task, prepare_task
from arsbench.training import check_memory, choose_device


def prepare(configs: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Prepare for these configurations.

    Args:
        configs: by kind ("runs", "trials") and contender.

    Returns:
        by kind and contender the "steps" and "epochs" to the end, and the "device".

    Raises:
        UserError: data, device, model or an optimizer cannot be had.
    """
    tasks: dict[str, Task] = {}
    found: dict[str, Any] = {}
    for kind, contenders in configs.items():
        found[kind] = {}
        for name, given in contenders.items():
            config = config_from_dict(given)
            device = choose_device(config.experiment.device)
            found["device"] = device.type
            # Whatever the optimizer's table has, data and model are the same.
            key = json.dumps({section: table for section, table in given.items() if section != "optimizer"})
            if key not in tasks:
                check_memory(config, device)
                tasks[key] = prepare_task(config)
            try:
                check_memory(config, device, tasks[key].classes)
                create_optimizer(
                    tasks[key].build_model(),
                    config.optimizer,
                    given.get("optimizer", {}),
                    config.train.matrices,
                )
            except UserError as error:
                raise UserError(f"contender {name!r}: {error}") from None
            found[kind][name] = _extent(config, tasks[key])
    return found


def _extent(config: Config, task: Task) -> dict[str, int]:
    """Optimizer steps and epochs, the last perhaps shorter, of a run that does not end early."""
    steps = config.train.epochs * task.steps_per_epoch
    steps = min(steps, config.train.max_steps or steps)
    return {"steps": steps, "epochs": -(-steps // task.steps_per_epoch)}


def main() -> None:
    """Exit code 2, and the reason on standard error, where something cannot be had."""
    try:
        print(json.dumps(prepare(json.load(sys.stdin))))
    except UserError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
