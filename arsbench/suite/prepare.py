"""Checks a suite before it runs: reads and caches the data, makes every contender's optimizer.

python -m arsbench.suite.prepare    reads configurations from standard input and prints the result, as JSON
"""

from __future__ import annotations

import json
import sys
from typing import Any

from arsbench.config import Config, config_from_dict
from arsbench.errors import UserError
from arsbench.optim import create_optimizer
from arsbench.tasks import Task, create_task
from arsbench.training import check_memory, choose_device


def prepare(configs: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Prepare the data and check the optimizers of configurations.

    Args:
        configs: by kind ("runs", "trials") and contender.

    Returns:
        "steps" and "epochs" of the whole run by kind and contender, and the "device".

    Raises:
        UserError: the data, device, model or an optimizer is not available.
    """
    tasks: dict[str, Task] = {}
    result: dict[str, Any] = {}
    for kind, contenders in configs.items():
        result[kind] = {}
        for name, sections in contenders.items():
            config = config_from_dict(sections)
            device = choose_device(config.experiment.device)
            result["device"] = device.type
            # Data and model do not depend on the optimizer's section.
            key = json.dumps(sections | {"optimizer": {}})
            if key not in tasks:
                check_memory(config, device)
                tasks[key] = create_task(config)
            task, keys = tasks[key], sections.get("optimizer", {})
            try:
                check_memory(config, device, task.classes)
                create_optimizer(task.build_model(), config.optimizer, keys, config.train.matrices)
            except UserError as error:
                raise UserError(f"contender {name!r}: {error}") from None
            result[kind][name] = _extent(config, task)
    return result


def _extent(config: Config, task: Task) -> dict[str, int]:
    """Optimizer steps and epochs of a run that does not end early; its last epoch may be shorter."""
    steps = config.train.epochs * task.steps_per_epoch
    steps = min(steps, config.train.max_steps or steps)
    return {"steps": steps, "epochs": -(-steps // task.steps_per_epoch)}


def main() -> None:
    """Exit with code 2 and the reason on standard error if something is not available."""
    try:
        print(json.dumps(prepare(json.load(sys.stdin))))
    except UserError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
