"""`arsbench train`: a configuration becomes a run."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from .common import RUNS, config_argument, set_option, warn
from .output import drop_lost_output

INTERRUPTED = 130
SHOWN_EPOCHS = 20  # on the terminal; the report has all


@click.command(epilog="Example: arsbench train seed --set experiment.device=cpu --set train.epochs=1")
@config_argument
@set_option
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="The run's folder [default: runs/NAME]."
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out, or with the latest of this name.")
def train(config: str, overrides: tuple[str, ...], out: Path | None, resume: bool) -> None:
    """Train CONFIG (a .json or .toml file, or a preset), evaluate it and write its report."""
    from arsbench.config import load_config
    from arsbench.runs.folder import RunFolder
    from arsbench.runs.paths import default_path, is_vacant, latest

    drop_lost_output()  # a run is worth more than what it prints
    stem = Path(config).stem
    begun = None
    if resume:
        path = out or latest(RUNS, stem)
        if not path.is_dir() or not is_vacant(path):
            begun = RunFolder.open(path).config
    loaded = load_config(config, overrides, warn, begun=begun)
    if not resume:
        path = out or default_path(RUNS, stem)

    from arsbench import report, training
    from arsbench.errors import UserError

    from .progress import create_observer

    with (
        create_observer(sys.stdout) as observer,
        training.held_run(path, loaded, observer, resume=resume, made=out is None) as (folder, trainer),
    ):
        observer.configuration(folder)
        failure = None
        try:
            state = trainer.run(folder)
        except UserError:
            raise
        except Exception as error:  # of a model or an optimizer, perhaps the user's
            failure = training.describe_failure(error)
        if failure is None:
            summary = report.write(folder)
        else:
            with contextlib.suppress(UserError):  # of a full disk; the failure matters more
                report.write(folder)
    if failure is not None:
        click.echo(
            f"Error: training failed: {failure}; {folder.traceback_path} has the traceback: correct the "
            f"cause, then resume with: {_resume_command(config, overrides, folder.path)}",
            err=True,
        )
        sys.exit(1)
    headers, *rows = report.results_table(folder)
    if len(rows) > SHOWN_EPOCHS:
        click.echo(f"The last {SHOWN_EPOCHS} of {len(rows)} epochs:")
    click.echo("\n".join(report.table_lines([headers, *rows[-SHOWN_EPOCHS:]])))
    click.echo(f"Report: {summary}")
    diverged_at = folder.status.get("diverged_at")
    if state == "finished" and diverged_at is not None:
        click.echo(f"The run diverged at step {diverged_at}.")
    if state == "interrupted":
        resume_command = _resume_command(config, overrides, folder.path)
        click.echo(f"Stopped after step {folder.status['step']}; resume with: {resume_command}")
        sys.exit(INTERRUPTED)
    if state == "non_finite":
        click.echo(
            f"Error: training stopped: {folder.status['message']}; the last good checkpoint is kept", err=True
        )
        sys.exit(1)


def _resume_command(config: str, overrides: tuple[str, ...], path: Path) -> str:
    import shlex

    arguments = [part for override in overrides for part in ("--set", override)]
    return shlex.join(["arsbench", "train", config, *arguments, "--out", str(path), "--resume"])
