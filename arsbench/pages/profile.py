"""Performance profiles as Markdown, pictures and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from arsbench.analysis import BUDGETS, Problem, profiles
from arsbench.analysis.wording import listed
from arsbench.pages.cells import aligned_lines
from arsbench.pages.chart_data import AXES, Chart, Series
from arsbench.report.markup import escape

# Times the cheapest contender's cost at which shares are shown; the last is any cost.
RATIOS = (1.0, 1.25, 1.5, 2.0, 4.0, math.inf)


def profile_charts(found: Sequence[Problem]) -> list[Chart]:
    """A chart of the profiles by each budget that all runs tell."""
    drawn = []
    for budget in BUDGETS:
        shares = profiles(found, budget)
        if shares is None:
            continue
        # A little beyond the last step, so that it is seen to hold.
        end = 1.1 * max(2.0, *(own.ratios[-1] for own in shares.values()))
        series = []
        for place, (name, own) in enumerate(shares.items()):
            heights = (*own.shares, own.shares[-1])
            series.append(Series(name, place, (*own.ratios, end), heights, heights, heights))
        drawn.append(
            Chart(
                name=f"profile-{budget}",
                title=f"Performance profile by {budget}",
                description=f"Share of {len(found)} problems solved at no more than so many times the "
                f"cheapest contender's {AXES[budget]}: the higher, the better.",
                x_title=f"times the fewest {AXES[budget]}",
                y_title="problems solved",
                series=tuple(series),
                form="shares",
            )
        )
    return drawn


def render_profiles(found: Sequence[Problem], plots: Sequence[str] = ()) -> str:
    """The profiles by each budget, after the targets that they are about; `plots` are lines of pictures."""
    tasks: dict[str, list[Problem]] = {}
    for problem in found:
        tasks.setdefault(problem.task, []).append(problem)
    rows = [["Task", "Metric", "Target", "Seeds"]]
    for task, own in tasks.items():
        seeds = ", ".join(str(problem.seed) for problem in own)
        rows.append([task, own[0].metric.title, f"{own[0].target:.4f}", seeds])
    lines = [
        "# ARS-Bench Performance Profiles",
        "",
        f"Share of {len(found)} problems, a task and a seed each, that a contender solves at no more than so "
        "many times the cheapest contender's cost (Dolan and Moré, 2002). A problem is solved at the "
        "first evaluation that reaches the target. Seeds that not all have a complete run of are left out.",
        "",
        *aligned_lines(rows),
    ]
    diverged = list(
        dict.fromkeys(
            f"{run.name} {run.standing}" for problem in found for run in problem.runs.values() if run.diverged
        )
    )
    if diverged:
        lines += ["", f"What a run reached before it diverged counts: {escape(listed(diverged))}."]
    for budget in BUDGETS:
        shares = profiles(found, budget)
        lines += ["", f"## By {budget}"]
        if shares is None:
            lines.append("Not told by all runs.")
            continue
        rows = [["Contender", *(f"{ratio:g}×" if ratio < math.inf else "at all" for ratio in RATIOS)]]
        rows += [[name, *(f"{own.share(r):.0%}" for r in RATIOS)] for name, own in shares.items()]
        lines += aligned_lines(rows)
    return "\n".join([*lines, *plots]) + "\n"


def profiles_dict(found: Sequence[Problem]) -> dict[str, Any]:
    """The problems with every contender's costs, and the profiles as step functions, in plain JSON types."""
    return {
        "problems": [
            {
                "task": problem.task,
                "seed": problem.seed,
                "metric": problem.metric.name,
                "target": problem.target,
                "diverged_at": {name: run.diverged_at for name, run in problem.runs.items()},
                "costs": {name: {b: problem.cost(name, b) for b in BUDGETS} for name in problem.runs},
            }
            for problem in found
        ],
        "profiles": {
            budget: None if shares is None else {name: vars(own) for name, own in shares.items()}
            for budget in BUDGETS
            for shares in [profiles(found, budget)]
        },
    }
