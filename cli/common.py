"""Arguments and options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from arsbench.characters import printable

RUNS = Path("runs")


class OutputFile(click.Path):
    """A file to write, whose name must end as its kind does: no run's own file is then overwritten."""

    def __init__(self, suffix: str) -> None:
        super().__init__(path_type=Path)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path."""
        path = super().convert(value, param, ctx)
        if path.suffix.lower() != self._suffix:
            self.fail(f"{str(path)!r} does not end in {self._suffix}; give such a name", param, ctx)
        return path


config_argument = click.argument("config", metavar="CONFIG|PRESET")
run_argument = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
csv_option = click.option(
    "--csv",
    metavar="FILE.csv",
    type=OutputFile(".csv"),
    help="Write a row per run and epoch to FILE.csv; beside it one per logged step (FILE.steps.csv) and per "
    "evaluation within epochs (FILE.evaluations.csv).",
)
plots_option = click.option(
    "--plots", metavar="DIR", type=click.Path(path_type=Path), help="Write pictures to DIR and link them."
)


def set_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--set section.key=value`, any number of times."""
    return click.option(
        "--set",
        "overrides",
        metavar="SECTION.KEY=VALUE",
        multiple=True,
        help="Override a key of the configuration; may be given several times.",
    )(command)


def echo_line(text: str, *, err: bool = False) -> None:
    """Print a line that holds names or messages of other people: no character of it acts on the terminal."""
    click.echo(printable(text), err=err)


def warn(text: str) -> None:
    """Say something on standard error that is no part of the output."""
    echo_line(f"Warning: {text}", err=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON; NaN and the infinities become strings, which every reader takes."""
    from arsbench.runs.json_files import encode

    click.echo(json.dumps(encode(value), indent=2))
