"""`arsbench profile`: performance profiles over several tasks."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .common import echo_line, json_option, plots_option, print_json, sources_argument


@click.command(epilog="Example: arsbench profile suites/demo-optimizers suites/grokking")
@sources_argument
@click.option(
    "--baseline",
    metavar="NAME",
    help="The contender whose best value is each task's target [default: the suite's baseline, or the task's "
    "first contender].",
)
@json_option
@plots_option
def profile(sources: tuple[str, ...], baseline: str | None, as_json: bool, plots: Path | None) -> None:
    """Show performance profiles of contenders over several tasks."""
    from arsbench.analysis import load, problems
    from arsbench.pages.charts import write_charts
    from arsbench.pages.markdown import for_terminal, plot_lines
    from arsbench.pages.profile import profile_charts, profiles_dict, render_profiles

    solved = problems(load(sources), baseline)
    pictures = plot_lines(write_charts(profile_charts(solved), plots), Path()) if plots else []
    if as_json:
        print_json(profiles_dict(solved))
    else:
        click.echo(for_terminal(render_profiles(solved, pictures), sys.stdout), nl=False)
    if plots:
        echo_line(f"Plots: {plots}", err=True)
