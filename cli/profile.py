"""`arsbench profile`: who reaches the targets of several tasks cheaply."""

from __future__ import annotations

import click

from .common import json_option, print_json


@click.command(epilog="Example: arsbench profile suites/demo-optimizers suites/grokking")
@click.argument("sources", metavar="RUN|SUITE|REPORT.md...", nargs=-1, required=True)
@click.option(
    "--baseline",
    metavar="NAME",
    help="The contender whose best is each task's target [default: a suite's own, or the task's first].",
)
@json_option
def profile(sources: tuple[str, ...], baseline: str | None, as_json: bool) -> None:
    """Show performance profiles of the contenders that runs of several tasks have in common."""
    from arsbench.analysis import load, problems
    from arsbench.report.profile import profiles_dict, render_profiles

    found = problems(load(sources), baseline)
    if as_json:
        print_json(profiles_dict(found))
    else:
        click.echo(render_profiles(found), nl=False)
