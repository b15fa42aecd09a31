"""`arsbench suite`: a grid of optimizers, settings and seeds over one task."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from .common import echo_line, json_option, print_json
from .output import drop_lost_output

SUITES = Path("suites")
INTERRUPTED = 130
MOST_PROCESSES = 1024


@click.group(epilog="Example: arsbench suite run demo-optimizers")
def suite() -> None:
    """Run many contenders with many seeds, and see where they stand."""


@suite.command(epilog="Example: arsbench suite run demo-optimizers --workers 2")
@click.argument("source", metavar="SUITE.toml|PRESET")
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="The suite's folder [default: suites/NAME]."
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_PROCESSES),
    help="Runs at a time [default: cores divided by --threads; 1 on a GPU].",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_PROCESSES),
    help="Of each run [default: as the suite was begun with, or 1].",
)
def run(source: str, out: Path | None, workers: int | None, threads: int | None) -> None:
    """Run SUITE, or resume it: finished runs are kept, stopped ones continue where they were."""
    from arsbench.suite import read_suite, run_suite, slug

    from .suite_progress import create_observer

    drop_lost_output()  # runs are worth more than what is printed of them
    loaded = read_suite(source)
    path = out or SUITES / slug(loaded.name)
    with create_observer(sys.stdout) as observer:
        outcome = run_suite(loaded, path, workers=workers, threads=threads, observer=observer)
    click.echo(f"{outcome.done} of {outcome.total} runs are done: {outcome.path}")
    if outcome.diverged:
        echo_line(f"Diverged: {', '.join(outcome.diverged)}")
    for name, message in outcome.failures.items():
        echo_line(f"Failed: {name}: {message}", err=True)
    _report(outcome.path)
    given = {"--out": out, "--workers": workers, "--threads": threads}
    options = [text for name, value in given.items() if value for text in (name, str(value))]
    if outcome.interrupted or outcome.done < outcome.total:
        command = shlex.join(["arsbench", "suite", "run", source, *options])
        click.echo(f"Go on with: {command}", err=not outcome.interrupted)
    if outcome.interrupted or outcome.failures or outcome.done < outcome.total:
        sys.exit(INTERRUPTED if outcome.interrupted else 1)


def _report(path: Path) -> None:
    """Write the suite's report and page, and print the verdict, once any run has a figure."""
    from arsbench.analysis import load
    from arsbench.analysis.contenders import distinct
    from arsbench.pages.html import write_page
    from arsbench.pages.markdown import write_suite

    runs = load([path])
    if any(run.metrics() for run in runs):
        found, summary = write_suite(path, runs)
        page = write_page(distinct(runs), path / "report.html", found)
        click.echo(f"\n{found.verdict}\n\nReport: {summary}\nPage: {page}")


@suite.command(epilog="Example: arsbench suite status suites/demo-optimizers --json")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@json_option
def status(directory: Path, as_json: bool) -> None:
    """Show the state, epoch, step and last deciding metric of every run in DIR."""
    from arsbench.suite import suite_status

    facts = suite_status(directory)
    if as_json:
        print_json(facts)
        return
    work = "at work" if facts["at_work"] else "nobody at work"
    echo_line(f"{facts['name']}: {facts['task']}, {work}")
    for line in (*_table(facts["runs"]), *_tuning(facts)):
        echo_line(line)
    failures = {run["name"]: run["message"] for run in facts["runs"] if run["state"] == "failed"}
    for name, message in (facts["failures"] | failures).items():
        echo_line(f"failed: {name}: {message}")


@suite.command(epilog="Example: arsbench suite presets demo-optimizers > mine.toml")
@click.argument("name", required=False)
@json_option
def presets(name: str | None, as_json: bool) -> None:
    """List the suites that ship, or print the one called NAME as TOML to start your own from."""
    from arsbench.suite import load_suite, suite_names, suite_text

    if as_json:
        print_json(load_suite(name).given if name else suite_names())
    elif name:
        click.echo(suite_text(name), nl=False)
    else:
        width = max(map(len, suite_names()))
        for suite_name in suite_names():
            first_line = suite_text(suite_name).splitlines()[0].removeprefix("# ")
            click.echo(f"{suite_name:{width}} {first_line}")


def _tuning(facts: dict[str, Any]) -> list[str]:
    """What the trials have found, or how many there are, where there are any."""
    if facts["tuning"] is None:
        return [f"tuning: {name}: {n} trials begun" for name, n in facts["trials_begun"].items() if n]
    lines = []
    for name, found in facts["tuning"]["contenders"].items():
        best = ", ".join(f"{key} {value}" for key, value in (found["best"] or {}).items()) or "none"
        lines.append(f"tuned: {name}: {found['trials']} trials, {found['pruned']} pruned, best {best}")
    return lines


def _table(runs: list[dict[str, Any]]) -> list[str]:
    """The runs in aligned columns."""
    metric = next((run["metric"] for run in runs if run["metric"]), "metric")
    rows = [("run", "state", "epoch", "step", metric)]
    for run in runs:
        value = "" if run["value"] is None else f"{run['value']:.4f}"
        at = run["diverged_at"]
        state = run["state"] if at is None else f"{run['state']}, diverged at step {at:,d}"
        rows.append((run["name"], state, str(run["epoch"]), f"{run['step']}/{run['steps']}", value))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if column < 2 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
