"""Runs of few epochs by averages over their logged steps, which show more of the training than epochs do."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

from arsbench.analysis import Run
from arsbench.metrics import Metric, history

# Runs with this many epochs are drawn by epochs.
ENOUGH_EPOCHS = 20
_WINDOWS = 60
# Metrics that logged steps have too, with their keys there.
_STEP_KEYS = {"train_loss": "loss", "train_loss_strict": "loss_strict", "grad_norm": "grad_norm"}
_EPOCH = Metric("epoch", "", ("epoch",))


def by_steps(runs: Sequence[Run], metric: Metric) -> Sequence[Run]:
    """Runs of few epochs with a record per window of logged steps, where these have the metric."""
    key = _STEP_KEYS.get(metric.name, "")
    logged = [sum(record.get(key) is not None for record in run.steps) for run in runs]
    if not key or not all(len(r.epochs) < ENOUGH_EPOCHS < n for r, n in zip(runs, logged, strict=True)):
        return runs
    width = math.ceil(max(run.steps[-1]["step"] for run in runs) / _WINDOWS)
    return [dataclasses.replace(run, epochs=_averages(run, metric, key, width)) for run in runs]


def _averages(run: Run, metric: Metric, key: str, width: int) -> list[dict[str, Any]]:
    """Records like those of epochs, `width` steps each, up to the last step with known passes and time."""
    ends = [
        (0, 0, 0.0),
        *((p.steps, p.passes, p.seconds) for p in history(run.before_divergence(run.epochs), _EPOCH)),
    ]
    windows: dict[int, list[dict[str, Any]]] = {}
    for record in run.steps:
        if record["step"] <= ends[-1][0] and record.get(key) is not None:
            windows.setdefault((record["step"] - 1) // width, []).append(record)
    # The last window may hold few steps, whose mean would scatter more than those before.
    longest = max(map(len, windows.values()), default=0)
    records, before = [], (0.0, 0.0)
    for number, window in enumerate((w for w in windows.values() if 2 * len(w) >= longest), start=1):
        spent = _interpolated(ends, window[-1]["step"])
        records.append(
            {
                "epoch": number,
                "step": window[-1]["step"],
                "forward_backward_passes": spent[0] - before[0],
                "epoch_seconds": spent[1] - before[1],
                metric.path[0]: statistics.fmean(record[key] for record in window),
            }
        )
        before = spent
    return records


def _interpolated(ends: Sequence[tuple[int, float, float]], step: int) -> tuple[float, float]:
    """Passes and seconds at a step, interpolated between the ends of its epoch."""
    last = next(i for i, end in enumerate(ends) if step <= end[0])
    (start, *low), (stop, *high) = ends[max(last - 1, 0)], ends[last]
    share = (step - start) / (stop - start) if stop > start else 1.0
    return low[0] + share * (high[0] - low[0]), low[1] + share * (high[1] - low[1])
