"""`arsbench report`: the report of a run, rebuilt from its folder or read back from Markdown."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(epilog="Example: arsbench report runs/demo")
@click.argument("run", metavar="[RUN]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--from-markdown",
    "markdown",
    metavar="REPORT.md",
    type=click.Path(path_type=Path),
    help="Read a report of this form back into a run folder.",
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="The folder to make, with --from-markdown."
)
def report(run: Path | None, markdown: Path | None, out: Path | None) -> None:
    """Rebuild summary.md of RUN from what it recorded, or read a report back into a folder."""
    from arsbench.records import RunFolder
    from arsbench.report import import_markdown, write

    if markdown is not None:
        if run is not None or out is None:
            raise click.UsageError("--from-markdown needs --out DIR and no RUN")
        folder = import_markdown(markdown, out)
    elif run is None or out is not None:
        raise click.UsageError("give a RUN, or --from-markdown REPORT.md --out DIR")
    else:
        folder = RunFolder.open(run)
    click.echo(write(folder))
