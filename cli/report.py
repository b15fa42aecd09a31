"""`arsbench report`: the report of a run or a suite, rebuilt from its folder, or read back from Markdown."""

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
    "--html", is_flag=True, help="Write report.html beside summary.md: a page that needs nothing else."
)
@plots_option
@csv_option
@json_option
@click.option(
    "--tensorboard",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write event files for TensorBoard, a folder in DIR for each run; needs arsbench[tensorboard].",
)
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
    """Rebuild the report of RUN or SUITE, or read a report back.

    Prints the paths of the files that it wrote.
    """
    from arsbench.runs.folder import RunFolder

    if markdown is not None:
        if source is not None or out is None:
            raise click.UsageError("--from-markdown needs --out DIR and no RUN")
        from arsbench.report import import_markdown

        source = import_markdown(markdown, out, warn).path
    elif source is None or out is not None:
        raise click.UsageError("give a RUN or SUITE, or --from-markdown REPORT.md --out DIR")

    from arsbench.analysis.plans import plan_of
    from arsbench.analysis.runs import load

    is_suite = plan_of(source) is not None
    folder = None if is_suite else RunFolder.open(source)
    # A report of several tasks can be rewritten, but is no run to be drawn or exported.
    needed = is_suite or html or as_json or any((plots, csv, tensorboard))
    runs = load([source]) if needed else []
    written, pictures = [], []
    if plots is not None:
        from arsbench.pages.charts import write_plots
        from arsbench.pages.markdown import plot_lines

        drawn = write_plots(runs, plots)
        pictures = plot_lines(drawn, source)
        written += [plot.path for plot in drawn]
    if folder is None:
        from arsbench.pages.markdown import write_suite

        found, summary = write_suite(source, runs, pictures)
        facts = found.as_dict()
    else:
        from arsbench.report import render

        summary = folder.write_summary(render(folder) + "".join(f"{line}\n" for line in pictures))
        facts = {}
    if html:
        from arsbench.pages.html import write_page

        written.append(write_page(runs, source / "report.html"))
    if csv is not None:
        from arsbench.pages.exchange import write_csv

        written += write_csv(runs, csv)
    if tensorboard is not None:
        from arsbench.pages.exchange import write_tensorboard

        written += write_tensorboard(runs, tensorboard)
    written.insert(0, summary)
    if as_json:
        if folder is not None:
            facts = runs[0].as_dict() | {"groups": folder.groups}
        print_json(facts | {"files": [str(path) for path in written]})
    else:
        for path in written:
            click.echo(path)
