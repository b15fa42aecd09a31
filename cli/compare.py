"""`arsbench compare`: runs, suites and reports against one another."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import OutputFile, csv_option, json_option, plots_option, print_json, sources_argument, warn
from .completion import metrics

if TYPE_CHECKING:
    from arsbench.analysis.overview import Overview, Shortfall


class Tolerance(click.ParamType):
    """ "0.5%" of the reference, or "0.01" in the metric's own unit."""

    name = "tolerance"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, bool]:
        """The number, as a share if it is one, and whether it is."""
        match = re.fullmatch(r"\s*([0-9.]+(?:e-?[0-9]+)?)\s*(%?)\s*", str(value), re.IGNORECASE)
        try:
            number = float(match[1]) if match else math.nan
        except ValueError:
            number = math.nan
        if not match or not math.isfinite(number):
            self.fail(f"{value!r} is neither a share such as 0.5% nor a difference such as 0.01", param, ctx)
        return (number / 100, True) if match[2] else (number, False)


@click.command(epilog="Example: arsbench compare report.md runs/demo runs/mine --baseline AdamW")
@sources_argument
@click.option(
    "--metric",
    metavar="NAME",
    shell_complete=metrics,
    help="What to compare [default: the first of the task's that all have].",
)
@click.option(
    "--baseline",
    metavar="NAME",
    help="The contender, or a run of it, that the others are compared with [default: the first source's; a "
    "suite may name its own].",
)
@click.option("--all-pairs", is_flag=True, help="Compare each contender with each other one.")
@click.option(
    "--target",
    metavar="X",
    type=float,
    help="Count costs until the metric is as good as X [default: the baseline's best].",
)
@click.option(
    "--test",
    type=click.Choice(["auto", "t", "permutation"]),
    default="auto",
    show_default=True,
    help="What decides: auto is the paired t-test below 12 seeds and the permutation of signs from there on.",
)
@json_option
@csv_option
@plots_option
@click.option(
    "--html", metavar="FILE.html", type=OutputFile(".html"), help="Write a page that needs nothing else."
)
@click.option(
    "--fail-if-worse",
    "tolerance",
    metavar="0.5%",
    type=Tolerance(),
    help="Exit with 1 if a contender's mean is worse than the baseline's by more than this: a share with %, "
    "else a difference. NaN is worse.",
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
    from arsbench.analysis.overview import overview
    from arsbench.pages import markdown

    runs = distinct(load(sources, warn))
    found = overview(runs, metric=metric, baseline=baseline, all_pairs=all_pairs, target=target, test=test)
    shown = []
    if csv is not None:
        from arsbench.pages.exchange import write_csv

        write_csv(runs, csv)
    if plots is not None:
        from arsbench.pages.charts import write_plots

        shown = markdown.plot_lines(write_plots(runs, plots), Path())
    if html is not None:
        from arsbench.pages.html import write_page

        write_page(runs, html, found)
    worse = [] if tolerance is None else found.shortfalls(*tolerance)
    if as_json:
        print_json(found.as_dict() | {"worse": [shortfall.contender for shortfall in worse]})
    else:
        click.echo(markdown.render(found, plots=shown), nl=False)
    if worse:
        click.echo(f"Error: {_worse_sentence(worse, found, *tolerance)}", err=True)
        sys.exit(1)


def _worse_sentence(worse: list[Shortfall], found: Overview, allowed: float, relative: bool) -> str:
    limit = f"{allowed:.4g}" if not relative else f"{100 * allowed:.4g} %"
    return f"worse than {found.baseline} by more than {limit} in {found.metric.title}: " + "; ".join(
        shortfall.sentence() for shortfall in worse
    )
