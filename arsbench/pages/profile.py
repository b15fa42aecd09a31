"""Performance profiles as charts, Markdown and JSON."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from arsbench.analysis import BUDGETS, Problem, profiles
from arsbench.analysis.wording import listed
from arsbench.pages.chart_data import BUDGET_TITLES, Chart, Series
from arsbench.pages.markdown import table_lines
from arsbench.pages.table_model import number, table
from arsbench.report.rendering import fill

# Multiples of the lowest cost at which shares are listed; the last is any cost.
RATIOS = (1.0, 1.25, 1.5, 2.0, 4.0, math.inf)


def profile_charts(problems: Sequence[Problem]) -> list[Chart]:
    """A chart of the profiles by each budget that all runs report."""
    charts = []
    for budget in BUDGETS:
        shares = profiles(problems, budget)
        if shares is None:
            continue
        # A little beyond the last step, to show that the share stays.
        end = 1.1 * max(2.0, *(profile.ratios[-1] for profile in shares.values()))
        series = []
        for place, (name, profile) in enumerate(shares.items()):
            heights = (*profile.shares, profile.shares[-1])
            series.append(Series(name, place, (*profile.ratios, end), heights, heights, heights))
        charts.append(
            Chart(
                name=f"profile-{budget}",
                title=f"Performance profile by {budget}",
                description=f"Share of {len(problems)} problems solved within a multiple of the lowest cost "
                f"in {BUDGET_TITLES[budget]}. Higher is better.",
                x_title=f"multiple of the fewest {BUDGET_TITLES[budget]}",
                y_title="problems solved",
                series=tuple(series),
                form="shares",
            )
        )
    return charts


def render_profiles(problems: Sequence[Problem], plots: Sequence[str] = ()) -> str:
    """The targets and the profiles by each budget as Markdown; `plots` are lines of pictures."""
    tasks = [list(seeds) for _, seeds in itertools.groupby(problems, key=lambda problem: problem.task)]
    columns = {
        "Task": lambda seeds: seeds[0].task,
        "Metric": lambda seeds: seeds[0].metric.title,
        "Target": lambda seeds: number(seeds[0].target),
        "Seeds": lambda seeds: ", ".join(str(problem.seed) for problem in seeds),
    }
    shares = {"Contender": lambda item: item[0]}
    for ratio in RATIOS:
        header = f"≤ {ratio:g}×" if ratio < math.inf else "any cost"
        shares[header] = lambda item, ratio=ratio: number(item[1].share(ratio), ".0%")
    by_budget = {budget: profiles(problems, budget) or {} for budget in BUDGETS}
    runs = [run for problem in problems for run in problem.runs.values() if run.diverged]
    return fill(
        "pages/templates/profiles.md.j2",
        count=len(problems),
        targets=table_lines(table("Targets", columns, tasks)),
        diverged=listed(list(dict.fromkeys(f"{run.name} {run.standing}" for run in runs))),
        shares={b: table_lines(table(b, shares, p.items())) if p else [] for b, p in by_budget.items()},
        plots=plots,
    )


def profiles_dict(problems: Sequence[Problem]) -> dict[str, Any]:
    """The problems with every contender's costs, and the profiles as step functions, in plain JSON types."""
    by_budget = {budget: profiles(problems, budget) for budget in BUDGETS}
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
            for problem in problems
        ],
        "profiles": {
            budget: shares and {name: vars(profile) for name, profile in shares.items()}
            for budget, shares in by_budget.items()
        },
    }
