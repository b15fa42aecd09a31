"""`arsbench profile`: who reaches the targets of several tasks cheaply."""

from __future__ import annotations

from pathlib import Path

import click

from .common import json_option, plots_option, print_json, sources_argument


@click.command(epilog="Example: arsbench profile suites/demo-optimizers suites/grokking")
@sources_argument
@click.option(
    "--baseline",
    metavar="NAME",
    help="The contender whose best is each task's target [default: a suite's own, or the task's first].",
)
@json_option
@plots_option
def profile(sources: tuple[str, ...], baseline: str | None, as_json: bool, plots: Path | None) -> None:
    """Show performance profiles of contenders over several tasks."""
    from arsbench.analysis import load, problems
    from arsbench.pages.profile import profile_charts, profiles_dict, render_profiles

    found = problems(load(sources), baseline)
    shown = []
    if plots is not None:
        from arsbench.pages.charts import write_charts
        from arsbench.pages.markdown import plot_lines

        shown = plot_lines(write_charts(profile_charts(found), plots), Path())
    if as_json:
        print_json(profiles_dict(found))
    else:
        click.echo(render_profiles(found, shown), nl=False)
