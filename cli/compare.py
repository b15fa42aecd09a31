"""`arsbench compare`: runs, suites and reports against one another."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import click

from .common import (
    OutputFile,
    csv_option,
    echo_line,
    json_option,
    plots_option,
    print_json,
    sources_argument,
    warn,
)
from .completion import metrics


class Tolerance(click.ParamType):
    """ "0.5%" of the reference, or "0.01" in the metric's own unit."""

    name = "tolerance"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, bool]:
        """The number, and whether it is relative (then as a share, not in per cent)."""
        number = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e-?[0-9]+)?"
        match = re.fullmatch(rf"\s*({number})\s*(%?)\s*", str(value), re.IGNORECASE)
        if not match or math.isinf(float(match[1])):
            self.fail(f"{value!r} is neither a share such as 0.5% nor a difference such as 0.01", param, ctx)
        return (float(match[1]) / 100, True) if match[2] else (float(match[1]), False)


@click.command(epilog="Example: arsbench compare report.md runs/demo runs/mine --baseline AdamW")
@sources_argument
@click.option(
    "--metric",
    metavar="NAME",
    shell_complete=metrics,
    help="The metric to compare [default: the first that all runs have].",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="The contender, or one of its runs, to compare the others with [default: the suite's baseline, or "
    "the first source's contender].",
)
@click.option("--all-pairs", is_flag=True, help="Compare all pairs of contenders.")
@click.option(
    "--target",
    metavar="X",
    type=float,
    help="Report the cost to reach this value of the metric [default: the baseline's best].",
)
@click.option(
    "--test",
    type=click.Choice(["auto", "t", "permutation"]),
    default="auto",
    show_default=True,
    help="The significance test: auto is the paired t-test below 12 seeds, and the sign-flip permutation "
    "test with 12 or more.",
)
@json_option
@csv_option
@plots_option
@click.option(
    "--html",
    metavar="FILE.html",
    type=OutputFile(".html"),
    help="Write a self-contained HTML page and print the verdict alone.",
)
@click.option(
    "--fail-if-worse",
    "tolerance",
    metavar="0.5%",
    type=Tolerance(),
    help="Exit with 1 if a contender's mean is worse than the baseline's by more than this: relative with %, "
    "else absolute. NaN is worse.",
)
def compare(
    sources: tuple[str, ...],
    metric: str | None,
    baseline: str | None,
    all_pairs: bool,
    target: float | None,
    test: str,
    as_json: bool,
    csv: Path | None,
    plots: Path | None,
    html: Path | None,
    tolerance: tuple[float, bool] | None,
) -> None:
    """Compare runs, suites and reports of one task."""
    from arsbench.analysis import load
    from arsbench.analysis.contenders import distinct
    from arsbench.analysis.overview import overview as compare_runs
    from arsbench.pages import markdown
    from arsbench.pages.charts import write_plots
    from arsbench.pages.exchange import write_csv
    from arsbench.pages.html import write_page

    runs = distinct(load(sources, warn))
    overview = compare_runs(
        runs, metric=metric, baseline=baseline, all_pairs=all_pairs, target=target, test=test
    )
    files = [("CSV", path) for path in write_csv(runs, csv)] if csv else []
    pictures = markdown.plot_lines(write_plots(runs, plots), Path()) if plots else []
    if plots:
        files.append(("Plots", plots))
    if html:
        files.append(("Page", write_page(runs, html, overview)))
    worse = [] if tolerance is None else overview.shortfalls(*tolerance)
    if as_json:
        contenders = [shortfall.contender for shortfall in worse]
        print_json(overview.as_dict() | {"worse": contenders, "files": [str(path) for _, path in files]})
    else:
        width = markdown.width_for(sys.stdout)
        text = f"{overview.verdict}\n\n" if html else markdown.render(overview, plots=pictures, width=width)
        click.echo(markdown.for_terminal(text, sys.stdout), nl=False)
        # Standard output stays a whole Markdown document.
        for kind, path in files:
            echo_line(f"{kind}: {path}", err=html is None)
    if worse:
        allowed, relative = tolerance
        limit = f"{100 * allowed:.4g} %" if relative else f"{allowed:.4g}"
        excess = f"worse than {overview.baseline} by more than {limit} in {overview.metric.title}"
        click.echo(f"Error: {excess}: {'; '.join(shortfall.sentence() for shortfall in worse)}", err=True)
        sys.exit(1)
