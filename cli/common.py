"""Arguments, options and output that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from arsbench.errors import printable
from arsbench.runs.folder import RunFolder
from arsbench.runs.json_files import encode

from . import completion

if TYPE_CHECKING:
    from rich.console import Console

RUNS = Path("runs")
WIDTH = 100  # longest line on a terminal
FOLDER = click.Path(path_type=Path)


class OutputFile(click.Path):
    """A file to write, whose name must end in `suffix`: no file of a run is overwritten by mistake."""

    def __init__(self, suffix: str) -> None:
        super().__init__(path_type=Path)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path."""
        path = super().convert(value, param, ctx)
        if path.suffix.lower() != self._suffix:
            self.fail(f"{str(path)!r} does not end in {self._suffix}; give such a name", param, ctx)
        return path


config_argument = click.argument("config", metavar="CONFIG|PRESET", shell_complete=completion.configs)
run_argument = click.argument(
    "run",
    metavar="RUN",
    callback=lambda ctx, param, value: RunFolder.open(value),
    shell_complete=completion.runs,
)
sources_argument = click.argument(
    "sources", metavar="RUN|SUITE|REPORT.md...", nargs=-1, required=True, shell_complete=completion.sources
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
csv_option = click.option(
    "--csv",
    metavar="FILE.csv",
    type=OutputFile(".csv"),
    help="Write one row per run and epoch to FILE.csv, one per logged step to FILE.steps.csv, and one per "
    "evaluation within epochs to FILE.evaluations.csv.",
)
plots_option = click.option("--plots", metavar="DIR", type=FOLDER, help="Write charts to DIR and link them.")
set_option = click.option(
    "--set",
    "overrides",
    metavar="SECTION.KEY=VALUE",
    multiple=True,
    shell_complete=completion.overrides,
    help="Override a key of the configuration; may be repeated.",
)


def console() -> Console:
    """Rich's console on standard output; its lines have at most 100 columns on a terminal."""
    from rich.console import Console, ConsoleDimensions

    class Narrow(Console):
        @property
        def size(self) -> ConsoleDimensions:
            width, height = super().size
            return ConsoleDimensions(min(width, WIDTH) if self.is_terminal else 10**6, height)

    return Narrow(highlight=False)


def echo_table(
    rows: Sequence[Sequence[str]], *, titles: Sequence[str] | None = None, right: int = 99
) -> None:
    """Print rows in aligned columns; on a terminal, cells wrap instead of the lines.

    Args:
        rows: texts, possibly of other people; no character of them acts on the terminal.
        titles: of the columns.
        right: the first column that is aligned to the right.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None, show_header=titles is not None, header_style="", pad_edge=False, padding=(0, 2, 0, 0)
    )
    for column, title in enumerate(titles or next(iter(rows), ())):
        table.add_column(title, justify="right" if column >= right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    output = console()
    with output.capture() as captured:
        output.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_presets(
    name: str | None, as_json: bool, names: Sequence[str], text: Callable, content: Callable
) -> None:
    """List built-in files with the first paragraph of their comments, or print the one called `name`.

    `text` returns a file's TOML by its name, `content` what it holds.
    """
    if as_json:
        print_json(content(name) if name else names)
    elif name:
        click.echo(text(name), nl=False)
    else:
        rows = []
        for each in names:
            comment = takewhile(lambda line: line.startswith("# "), text(each).splitlines())
            rows.append((each, " ".join(line.removeprefix("# ") for line in comment)))
        echo_table(rows)


def echo_line(text: str, *, err: bool = False) -> None:
    """Print a text, possibly of other people, as a line; on a terminal it wraps with a hanging indent."""
    text = printable(text)
    if (sys.stderr if err else sys.stdout).isatty():
        # Paths and commands stay whole, to be copied.
        text = fill(
            text, console().width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    click.echo(text, err=err)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    echo_line(f"Warning: {text}", err=True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON; NaN and the infinities become strings, which every reader takes."""
    click.echo(json.dumps(encode(value), indent=2))
