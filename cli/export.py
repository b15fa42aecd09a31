"""`arsbench export`: a run's model in the format of other software."""

from __future__ import annotations

from pathlib import Path

import click

from arsbench.runs.folder import RunFolder

from .common import FOLDER, run_argument, warn


@click.command(epilog="Example: arsbench export runs/demo --to hf exported/")
@run_argument
@click.option("--to", "form", type=click.Choice(["hf"]), required=True, help="hf: Hugging Face transformers.")
@click.argument("directory", metavar="DIR", type=FOLDER)
def export(run: RunFolder, form: str, directory: Path) -> None:
    """Export the model of RUN's newest checkpoint to DIR.

    The configuration and the tokenizer are exported with it. DIR must be new, empty, or an earlier export,
    which is replaced.
    """
    from arsbench.training import export_run

    export_run(run, directory, warn)
    click.echo(directory)
