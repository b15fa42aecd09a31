"""A comparison as Markdown."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from arsbench.analysis import Comparison, Run
from arsbench.analysis.checks import UNKNOWN, same_task
from arsbench.analysis.contenders import by_contender, distinct
from arsbench.analysis.cost import Cost
from arsbench.analysis.overview import Overview, overview
from arsbench.analysis.plans import PLAN_FILE
from arsbench.analysis.results import Result
from arsbench.analysis.wording import listed
from arsbench.characters import ACTING
from arsbench.files import atomic_write
from arsbench.metrics import Metric
from arsbench.pages.cells import (
    NOT_REACHED,
    TUNED,
    aligned_lines,
    best_settings,
    figure,
    metric_value,
    p_value,
    settings,
)
from arsbench.report.columns import NOT_AVAILABLE
from arsbench.report.markup import escape
from arsbench.runs import checks
from arsbench.runs.checks import read_checked


class Plot(Protocol):
    """A picture of `arsbench.pages.charts`."""

    @property
    def title(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def description(self) -> str: ...


def render(found: Overview, *, title: str = "ARS-Bench Comparison", plots: Iterable[str] = ()) -> str:
    """The comparison as Markdown.

    Args:
        plots: lines of `plot_lines`.
    """
    metric = found.metric
    better = "higher" if metric.higher_is_better else "lower"
    lines = [
        f"# {escape(title)}",
        "",
        f"{same_task(found.runs)}, {metric.title}: {better} is better.",
        *_warnings(found.warnings),
        *_differences(found),
        "",
        "## Results",
        "After each run's last epoch; Best is the mean of each run's best evaluation. Steps, passes (forward "
        "and backward) and seconds of training are means per run, memory is the highest of any.",
        "",
        *aligned_lines(_results(found.results, metric)),
        *plots,
        *_comparisons(found.comparisons),
        *_costs(found),
        *_tuning(found.tuning),
        *_incomplete(found),
        "",
        "## Verdict",
        *map(escape, found.verdict.strip().split("\n")),
    ]
    return "\n".join(lines) + "\n"


def write_suite(folder: Path, runs: Sequence[Run], plots: Sequence[str] = ()) -> tuple[Overview, Path]:
    """Write the comparison of a suite's runs, as `load` gave them, to `summary.md` in its folder.

    Args:
        plots: lines of `plot_lines`.

    Returns:
        the comparison, and the file's path.

    Raises:
        UserError: no run has finished an epoch, or the file cannot be written.
    """
    found = overview(distinct(runs))
    plan = read_checked(folder / PLAN_FILE, checks.PLAN)
    path = folder / "summary.md"
    with atomic_write(path) as file:
        file.write(render(found, title=f"ARS-Bench Suite {plan['name']}", plots=plots))
    return found, path


def plot_lines(plots: Iterable[Plot], beside: Path) -> list[str]:
    """A section that shows pictures, by their paths from the folder `beside`, with their descriptions."""
    lines = ["", "## Plots"]
    for plot in plots:
        path = Path(os.path.relpath(plot.path, beside)).as_posix()
        target = re.sub(rf"[<>\\]|{ACTING}", lambda match: quote(os.fsencode(match[0]), safe=""), path)
        lines += ["", f"![{escape(plot.title)}](<{target}>)", "", escape(plot.description)]
    return lines


def _warnings(warnings: Sequence[str]) -> list[str]:
    return ["", "## Warnings", *(f"- {escape(warning)}" for warning in warnings)] if warnings else []


def _differences(found: Overview) -> list[str]:
    """Keys by contenders, or contenders by keys, whichever is narrower."""
    heading = ["", "## Configuration differences"]
    if not found.differences:
        return [*heading, "None among the keys that all of them tell."]
    contenders = by_contender(found.runs)
    positions = {run.name: position for position, run in enumerate(found.runs)}
    rows, single = [["Key", *contenders]], []
    for key, values in found.differences:
        cells = [settings([values[positions[run.name]] for run in runs]) for runs in contenders.values()]
        present = {cell for cell in cells if cell not in ("none", UNKNOWN)}
        if len(present) > 1:
            rows.append([key, *cells])
            continue
        having = [name for name, cell in zip(contenders, cells, strict=True) if cell in present]
        single.append(f"- {escape(f'{key} = {present.pop()} only for {listed(having)}')}")
    turned = [list(row) for row in zip(*rows, strict=True)]
    turned[0][0] = "Contender"
    return [
        *heading,
        *(min(map(aligned_lines, (rows, turned)), key=lambda form: len(form[0])) if len(rows) > 1 else ()),
        *(["", *single] if single else ()),
    ]


def _results(results: Iterable[Result], metric: Metric) -> list[list[str]]:
    rows = [
        ["Contender", "Runs", "Mean", "Median", "Range", "Best", "Steps", "Passes", "Seconds", "Peak MiB"]
    ]
    for result in results:
        count, planned = len(result.finals), len(result.states)
        ends = [metric_value(end, metric) for end in _range(result.finals)]
        peak = figure(result.peak_mib, ",.0f")
        rows.append(
            [
                result.contender,
                str(count) if count == planned else f"{count} of {planned}",
                metric_value(result.mean, metric),
                metric_value(result.median, metric),
                "–".join(dict.fromkeys(ends)) or NOT_AVAILABLE,
                metric_value(result.best, metric),
                figure(result.steps, ",.0f"),
                figure(result.passes, ",.0f"),
                figure(result.seconds, ",.0f"),
                f"{peak} GPU" if result.on_gpu else peak,
            ]
        )
    return rows


def _range(values: Sequence[float]) -> list[float]:
    if any(map(math.isnan, values)):
        return [math.nan]
    return [min(values), max(values)] if values else []


def _comparisons(comparisons: Sequence[Comparison]) -> list[str]:
    final, best = ([c for c in comparisons if c.at == at] for at in ("final", "best"))
    if not final:
        return []
    baselines = list(dict.fromkeys(c.baseline for c in comparisons))
    against = f"against {baselines[0]}" if len(baselines) == 1 else "of all pairs"
    return [
        "",
        f"## Paired by seed, {escape(against)}",
        "Difference: the contender's mean less that of the one it is compared with, at the largest budget "
        "that all their runs reached; n: seeds in common; d_z: Cohen's effect size; Holm "
        "p: p corrected for the number of comparisons in the table, which the verdict goes by.",
        "",
        "At that budget, interpolated between evaluations:",
        "",
        *_pairs(final, one_baseline=len(baselines) == 1),
        "",
        "The best up to it:",
        "",
        *_pairs(best, one_baseline=len(baselines) == 1),
    ]


def _pairs(comparisons: Sequence[Comparison], *, one_baseline: bool) -> list[str]:
    header = ["Contender", "Budget", "n", "Difference", "95 % interval", "d_z", "p", "Holm p", "Verdict"]
    rows, shown = [header], None
    for c in comparisons:
        pair = c.rival if one_baseline else f"{c.rival} − {c.baseline}"
        low, high = c.interval or (None, None)
        rows.append(
            [
                pair if pair != shown else "",
                c.budget,
                str(len(c.seeds)),
                figure(c.difference, "+.4f"),
                NOT_AVAILABLE if c.interval is None else f"{figure(low)} to {figure(high)}",
                figure(c.effect_size, "+.2f"),
                p_value(c.p_value),
                p_value(c.p_adjusted),
                c.verdict,
            ]
        )
        shown = pair
    return aligned_lines(rows)


def _costs(found: Overview) -> list[str]:
    if found.target is None:
        return []
    rows = [["Contender", "Reached by", "Steps", "Passes", "Seconds"]]
    rows += [
        [
            cost.contender,
            f"{cost.reached} of {cost.runs}",
            *(_spent(cost, b) for b in ("steps", "passes", "seconds")),
        ]
        for cost in found.costs
    ]
    return [
        "",
        f"## Cost to reach {found.metric.text(found.target)}",
        "Median over the runs, counted at evaluations; one that did not reach it counts as infinite.",
        "",
        *aligned_lines(rows),
    ]


def _spent(cost: Cost, budget: str) -> str:
    median = cost.medians[budget]
    return NOT_REACHED if median == math.inf else figure(median, ",.0f")


def _tuning(tuning: dict[str, dict[str, Any]]) -> list[str]:
    if not tuning:
        return []
    rows = [["Contender", *TUNED, "Value", "Best settings"]]
    for contender, record in tuning.items():
        figures = [figure(record.get(key), ",.0f") for key in TUNED.values()]
        rows.append([contender, *figures, figure(record.get("value")), best_settings(record)])
    return ["", "## Tuning", *aligned_lines(rows)]


def _incomplete(found: Overview) -> list[str]:
    if not found.incomplete:
        return []
    lines = ["", "## Failures and unfinished runs"]
    for run in found.incomplete:
        message = " ".join(run.message.split()).rstrip(".")
        lines.append(f"- {escape(run.name)}: {run.standing}{f': {escape(message)}' if message else ''}.")
    return lines
