"""How runs ended and what they reached, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from arsbench.analysis import Run
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.overview import Overview
from arsbench.metrics import best_point

_ENDINGS = {
    "running": "had not finished when this was written",
    "finished": "finished",
    "interrupted": "was interrupted and can be resumed",
    "non_finite": "stopped because a number was no longer finite",
    "imported": "was read from a report",
    "waiting": "has not started",
    "failed": "failed",
}


def ending(run: Run) -> str:
    """How a run ended, such as "ARS-1 finished after step 1,200."."""
    steps = max((record["step"] for record in [*run.epochs, *run.steps] if record.get("step")), default=None)
    after = f" after step {steps:,d}" if steps and run.state not in ("waiting", "imported") else ""
    diverged = "" if run.diverged_at is None else f"diverged at step {run.diverged_at:,d} and "
    message = " ".join(run.message.split()).rstrip(".")
    return f"{run.name} {diverged}{_ENDINGS[run.state]}{after}{f': {message}' if message else ''}."


def endings(runs: Sequence[Run]) -> list[str]:
    """How the runs ended that failed, diverged or have not finished."""
    return [ending(run) for run in runs if not run.whole]


def outcome(runs: Sequence[Run], overview: Overview | None) -> list[str]:
    """The verdict on several contenders, or what a single contender or run reached.

    Args:
        runs: at least one.
        overview: their comparison; None where no run has a metric yet.
    """
    if overview is None:
        return [ending(runs[0]) if len(runs) == 1 else "No run has been evaluated yet."]
    if len(by_contender(runs)) > 1:
        return overview.verdict.strip().split("\n")
    return [_of_seeds(overview) if len(runs) > 1 else _of_run(runs[0], overview)]


def _of_seeds(overview: Overview) -> str:
    metric, (result,) = overview.metric, overview.results
    finals = [value for value in result.finals if not math.isnan(value)]
    diverged = len(result.finals) - len(finals)
    texts = list(dict.fromkeys(metric.text(end) for end in (min(finals), max(finals)))) if finals else []
    values = f"from {texts[0]} to {texts[1]}" if len(texts) > 1 else "".join(texts)
    parts = [
        f"{metric.title} {values} at the end of {len(finals)} run{'s' * (len(finals) > 1)}" if finals else "",
        f"{diverged} diverged" if diverged else "",
        "no other contender to compare with",
    ]
    return f"{result.contender}: {'; '.join(filter(None, parts))}."


def _of_run(run: Run, overview: Overview) -> str:
    metric, points = overview.metric, run.history(overview.metric)
    if not points:  # it diverged before its first evaluation
        return ending(run)
    best = best_point(points, metric)
    before = "" if run.diverged_at is None else " before that"
    last = "" if best is points[-1] or before else f" and {metric.text(points[-1].value)} after the last"
    epoch = f"in epoch {best.epoch} of {max(points[-1].epoch, run.epochs[-1]['epoch'])}"
    value = f"its best {metric.title}{before} was {metric.text(best.value)}, {epoch}{last}"
    return f"{ending(run).removesuffix('.')}; {value}."
