"""`arsbench suite`: a grid of optimizers, settings and seeds on one task."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from arsbench.errors import INTERRUPTED

from .common import FOLDER, echo_line, echo_table, json_option, print_json, print_presets
from .completion import suite_folders, suite_names, suites
from .output import drop_lost_output

SUITES = Path("suites")
MOST_PROCESSES = 1024


@click.group(epilog="Example: arsbench suite run demo-optimizers")
def suite() -> None:
    """Run and compare many optimizers with many seeds."""


@suite.command(epilog="Example: arsbench suite run demo-optimizers --workers 2")
@click.argument("source", metavar="SUITE.toml|PRESET", shell_complete=suites)
@click.option(
    "--out",
    metavar="DIR",
    type=FOLDER,
    shell_complete=suite_folders,
    help="The suite's folder [default: suites/NAME].",
)
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_PROCESSES),
    help="Number of runs at a time [default: cores divided by --threads; 1 on a GPU].",
)
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_PROCESSES),
    help="Threads per run [default: the suite's first value, else 1].",
)
def run(source: str, out: Path | None, workers: int | None, threads: int | None) -> None:
    """Run a suite, or resume it.

    Finished runs are kept, stopped runs continue.
    """
    from arsbench.suite import read_suite, run_suite, slug

    from .progress import SuiteObserver

    drop_lost_output()  # the runs are worth more than their output
    loaded = read_suite(source)
    path = out or SUITES / slug(loaded.name)
    with SuiteObserver(sys.stdout) as observer:
        outcome = run_suite(loaded, path, workers=workers, threads=threads, observer=observer)
    click.echo(f"{outcome.done} of {outcome.total} runs are done: {path}")
    if outcome.diverged:
        echo_line(f"Diverged: {', '.join(outcome.diverged)}")
    for name, message in outcome.failures.items():
        echo_line(f"Failed: {name}: {message}", err=True)
    _report(path)
    if outcome.interrupted or outcome.done < outcome.total:
        values = {"--out": out, "--workers": workers, "--threads": threads}
        options = [text for name, value in values.items() if value for text in (name, str(value))]
        command = shlex.join(["arsbench", "suite", "run", source, *options])
        click.echo(f"Resume with: {command}", err=not outcome.interrupted)
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
        overview, summary = write_suite(path, runs)
        page = write_page(distinct(runs), path / "report.html", overview)
        click.echo()
        for line in str(overview.verdict).splitlines():
            echo_line(line)
        click.echo(f"\nReport: {summary}\nPage: {page}")


@suite.command(epilog="Example: arsbench suite status suites/demo-optimizers --json")
@click.argument("directory", metavar="DIR", type=FOLDER, shell_complete=suite_folders)
@json_option
def status(directory: Path, as_json: bool) -> None:
    """Show the state and the deciding metric of every run."""
    from arsbench.suite import suite_status

    facts = suite_status(directory)
    if as_json:
        print_json(facts)
        return
    echo_line(f"{facts['name']}: {facts['task']}, {'running' if facts['at_work'] else 'not running'}")
    metric = next((run["metric"] for run in facts["runs"] if run["metric"]), "metric")
    echo_table(map(_row, facts["runs"]), titles=("run", "state", "epoch", "step", metric), right=2)
    for line in _tuning(facts):
        echo_line(line)
    failures = {run["name"]: run["message"] for run in facts["runs"] if run["state"] == "failed"}
    for name, message in (facts["failures"] | failures).items():
        echo_line(f"failed: {name}: {message}")


@suite.command(epilog="Example: arsbench suite presets demo-optimizers > mine.toml")
@click.argument("name", required=False, shell_complete=suite_names)
@json_option
def presets(name: str | None, as_json: bool) -> None:
    """List the built-in suites, or print NAME as TOML."""
    from arsbench import suite

    print_presets(
        name, as_json, suite.suite_names(), suite.suite_text, lambda source: suite.read_suite(source).content
    )


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    """A run's row of the status table."""
    at = run["diverged_at"]
    state = run["state"] if at is None else f"{run['state']}, diverged at step {at:,d}"
    value = "" if run["value"] is None else f"{run['value']:.4f}"
    return run["name"], state, str(run["epoch"]), f"{run['step']}/{run['steps']}", value


def _tuning(facts: dict[str, Any]) -> list[str]:
    """The result of tuning by contender, or the number of trials so far."""
    if facts["tuning"] is None:
        return [f"tuning: {name}: {n} trials begun" for name, n in facts["trials_begun"].items() if n]
    lines = []
    for name, result in facts["tuning"]["contenders"].items():
        best = ", ".join(f"{key} {value}" for key, value in (result["best"] or {}).items()) or "none"
        lines.append(f"tuned: {name}: {result['trials']} trials, {result['pruned']} pruned, best {best}")
    return lines
