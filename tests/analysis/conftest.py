"""Runs made by hand, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from arsbench.analysis import Run


def _run(contender: str, seed: int | None, values: list[float], **changes: Any) -> Run:
    facts: dict[str, Any] = {
        "name": f"{contender}-{seed}",
        "source": Path(f"/made/{contender}/{seed}"),
        "contender": contender,
        "seed": seed,
        "task": "wikitext2_line (made)",
        "state": "finished",
        "message": "",
        "config": {},
        "environment": {},
        "steps": [],
    }
    steps, passes, seconds = (changes.pop(key, 10) for key in ("steps_each", "passes_each", "seconds_each"))
    epochs = [
        {
            "epoch": epoch,
            "step": None if steps is None else steps * epoch,
            "forward_backward_passes": passes,
            "epoch_seconds": seconds,
            "evaluation": {"validation": {"strict": {"loss": value}}},
        }
        for epoch, value in enumerate(values, start=1)
    ]
    return Run(**(facts | {"epochs": epochs} | changes))


@pytest.fixture(scope="session")
def run():
    """`run(contender, seed, values, **changes)`: a run with a loss for each epoch.

    `steps_each`, `passes_each` and `seconds_each` are what an epoch takes, 10 by default, None for no data.
    """
    return _run


@pytest.fixture
def contender(run):
    """`contender(name, last, first=5.0, **changes)`: a run for each last value, seeds 1, 2, …"""

    def make(name, last, first=5.0, **changes):
        return [run(name, seed, [first, value], **changes) for seed, value in enumerate(last, start=1)]

    return make
