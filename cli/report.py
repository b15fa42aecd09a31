"""`arsbench report`: write the report of a run or suite from its folder, or import a report in Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from .common import FOLDER, csv_option, json_option, plots_option, print_json, warn
from .completion import run_or_suite_folders


@click.command(epilog="Example: arsbench report runs/demo --html")
@click.argument(
    "source", metavar="[RUN|SUITE]", required=False, type=FOLDER, shell_complete=run_or_suite_folders
)
@click.option(
    "--html", is_flag=True, help="Write a self-contained HTML page, report.html, beside summary.md."
)
@plots_option
@csv_option
@json_option
@click.option(
    "--tensorboard",
    metavar="DIR",
    type=FOLDER,
    help="Write event files for TensorBoard, in a folder of DIR per run (needs arsbench[tensorboard]).",
)
@click.option(
    "--from-markdown",
    "markdown",
    metavar="REPORT.md",
    type=click.Path(path_type=Path),
    help="Import a report in the reference format into a run folder.",
)
@click.option("--out", metavar="DIR", type=FOLDER, help="The run folder to create, with --from-markdown.")
def report(
    source: Path | None,
    html: bool,
    plots: Path | None,
    csv: Path | None,
    as_json: bool,
    tensorboard: Path | None,
    markdown: Path | None,
    out: Path | None,
) -> None:
    """Write the report of RUN or SUITE, or import a report.

    Prints the paths of the files that it wrote.
    """
    from arsbench.analysis.plans import plan_of
    from arsbench.analysis.runs import load
    from arsbench.pages.charts import write_plots
    from arsbench.pages.exchange import require_tensorboard, write_csv, write_tensorboard
    from arsbench.pages.html import write_page
    from arsbench.pages.markdown import plot_lines, write_suite
    from arsbench.report import import_markdown, render
    from arsbench.runs.folder import RunFolder

    if tensorboard is not None:
        require_tensorboard()  # before anything is written
    if markdown is not None:
        if source is not None or out is None:
            raise click.UsageError("--from-markdown needs --out DIR and no RUN")
        source = import_markdown(markdown, out, warn).path
    elif source is None or out is not None:
        raise click.UsageError("name a RUN or SUITE, or use --from-markdown REPORT.md --out DIR")

    folder = None if plan_of(source) else RunFolder.open(source)
    # A run of several tasks has a report, but cannot be drawn or exported.
    runs = load([source]) if any((not folder, html, as_json, plots, csv, tensorboard)) else []
    drawn = write_plots(runs, plots) if plots else []
    pictures = plot_lines(drawn, source) if plots else []
    if folder is None:
        overview, summary = write_suite(source, runs, pictures)
        facts = overview.as_dict()
    else:
        summary = folder.write_summary(render(folder) + "".join(f"{line}\n" for line in pictures))
        facts = runs[0].as_dict() | {"groups": folder.groups} if as_json else {}
    written = [summary, *(plot.path for plot in drawn)]
    if html:
        written.append(write_page(runs, source / "report.html"))
    if csv is not None:
        written += write_csv(runs, csv)
    if tensorboard is not None:
        written += write_tensorboard(runs, tensorboard)
    if as_json:
        print_json(facts | {"files": [str(path) for path in written]})
    else:
        for path in written:
            click.echo(path)
