"""Runs of few epochs by their logged steps, which tell more of a course than the epochs' means."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

from arsbench.analysis import Run
from arsbench.metrics import Metric

TRAIN_LOSS = Metric("train_loss", "training loss (nats)", ("train_loss",))
# Runs of as many epochs are drawn by them.
ENOUGH = 20
_STRETCHES = 60
# Of these metrics a logged step tells the figure too, under this name.
_OF_STEPS = {"train_loss": "loss", "grad_norm": "grad_norm"}


def finer(runs: Sequence[Run], metric: Metric) -> Sequence[Run]:
    """Runs of few epochs with a record for every stretch of steps, where those tell the metric too."""
    key = _OF_STEPS.get(metric.name)
    if key is None or not all(len(run.epochs) < ENOUGH < len(run.steps) for run in runs):
        return runs
    stretch = math.ceil(max(run.steps[-1]["step"] for run in runs) / _STRETCHES)
    return [dataclasses.replace(run, epochs=_stretches(run, metric, key, stretch)) for run in runs]


def _stretches(run: Run, metric: Metric, key: str, stretch: int) -> list[dict]:
    """Records as of epochs, of `stretch` steps each, up to the last step whose passes and time are known."""
    ends = [(0, 0, 0.0), *((p.steps, p.passes, p.seconds) for p in run.history(TRAIN_LOSS))]
    groups: dict[int, list[dict]] = {}
    for record in run.steps:
        if record["step"] <= ends[-1][0] and record.get(key) is not None:
            groups.setdefault((record["step"] - 1) // stretch, []).append(record)
    # A mean of fewer steps at the end would scatter more than those before it.
    full = max(map(len, groups.values()), default=0)
    records, before = [], (0.0, 0.0)
    for number, group in enumerate((g for g in groups.values() if 2 * len(g) >= full), start=1):
        spent = _between(ends, group[-1]["step"])
        records.append(
            {
                "epoch": number,
                "step": group[-1]["step"],
                "forward_backward_passes": spent[0] - before[0],
                "epoch_seconds": spent[1] - before[1],
                metric.path[0]: statistics.fmean(record[key] for record in group),
            }
        )
        before = spent
    return records


def _between(ends: Sequence[tuple[int, float, float]], step: int) -> tuple[float, float]:
    """Passes and seconds at a step, in proportion between the ends of its epoch."""
    last = next(i for i, end in enumerate(ends) if step <= end[0])
    (start, *low), (stop, *high) = ends[max(last - 1, 0)], ends[last]
    share = (step - start) / (stop - start) if stop > start else 1.0
    return low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1])
