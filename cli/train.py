"""`arsbench train` and `arsbench resume`: a configuration becomes a run."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path

import click

from arsbench.config import Config, load_config
from arsbench.errors import INTERRUPTED, UserError
from arsbench.runs.folder import RunFolder
from arsbench.runs.paths import default_path, is_vacant, latest

from .common import FOLDER, RUNS, config_argument, echo_line, run_argument, set_option, warn
from .output import drop_lost_output

SHOWN_EPOCHS = 20  # the report has all epochs and, on a terminal, more columns
SHOWN_COLUMNS = ("Epoch", "Train Loss", "Epoch Time (s)", "Eval")


@click.command(epilog="Example: arsbench train seed --set experiment.device=cpu --set train.epochs=1")
@config_argument
@set_option
@click.option("--out", metavar="DIR", type=FOLDER, help="The run's folder [default: runs/NAME].")
@click.option("--resume", is_flag=True, help="Resume the run in --out, or else CONFIG's newest run.")
def train(config: str, overrides: tuple[str, ...], out: Path | None, resume: bool) -> None:
    """Train CONFIG, evaluate it and write its report.

    CONFIG is a .json or .toml file, or a preset.
    """
    drop_lost_output()  # a run is worth more than its output
    stem = Path(config).stem
    begun = None
    if resume:
        path = out or latest(RUNS, stem)
        if not path.is_dir() or not is_vacant(path):
            begun = RunFolder.open(path).config
    loaded = load_config(config, overrides, warn, begun=begun)
    if not resume:
        path = out or default_path(RUNS, stem)
    _train(path, loaded, resume=resume, made=out is None)


@click.command(epilog="Example: arsbench resume runs/demo --set train.epochs=4")
@run_argument
@set_option
def resume(run: RunFolder, overrides: tuple[str, ...]) -> None:
    """Resume RUN with its stored configuration.

    A stopped or failed run continues from its last checkpoint; a finished one with more epochs.
    """
    drop_lost_output()
    stored, before = run.path / "config.json", run.effective.get("train", {})
    try:
        loaded = load_config(str(stored), overrides, warn, begun=run.config)
    except UserError as error:
        raise error if overrides else UserError(f"{stored} is damaged: {error}; restore the file") from None
    if run.status["state"] != "finished" or loaded.train.epochs != before.get("epochs"):
        _train(run.path, loaded, resume=True, made=False)
        return
    if overrides:
        from arsbench.training import check_resumable

        check_resumable(run, loaded)
    click.echo(f"{run.path} is finished after step {run.status['step']}; there is nothing to resume.")
    if loaded.train.max_steps is None and loaded.train.stop_at is None:
        more = f"{resume_command(run.path)} --set train.epochs={loaded.train.epochs + 1}"
        click.echo(f"To train longer, raise train.epochs: {more}")


def _train(path: Path, config: Config, *, resume: bool, made: bool) -> None:
    """Train, write the report, and print the results; exits with 1 or 130 if the run is not finished."""
    from arsbench import report, training

    from .progress import TrainingObserver

    with (
        TrainingObserver(sys.stdout) as observer,
        training.held_run(path, config, observer, resume=resume, made=made) as (folder, trainer),
    ):
        observer.configuration(folder)
        failure = None
        try:
            state = trainer.run(folder)
        except UserError:
            raise
        except Exception as error:  # of a model or an optimizer, perhaps the user's
            failure = training.describe_failure(error)
        with contextlib.suppress(*[UserError] if failure else []):  # of a full disk; the failure matters more
            summary = report.write(folder)
    if failure is not None:
        echo_line(
            f"Error: training failed: {failure}; {folder.traceback_path} has the traceback: correct the "
            f"cause, then resume with: {resume_command(path)}",
            err=True,
        )
        sys.exit(1)
    headers, *rows = report.results_table(folder)
    if len(rows) > SHOWN_EPOCHS:
        click.echo(f"The last {SHOWN_EPOCHS} of {len(rows)} epochs:")
    table = [headers, *rows[-SHOWN_EPOCHS:]]
    if sys.stdout.isatty():  # whose lines are too short for all columns
        shown = [column for column, name in enumerate(headers) if name.startswith(SHOWN_COLUMNS)]
        table = [[row[column] for column in shown] for row in table]
    click.echo("\n".join(report.table_lines(table)))
    click.echo(f"Report: {summary}")
    diverged_at = folder.status.get("diverged_at")
    if state == "finished" and diverged_at is not None:
        click.echo(f"The run diverged at step {diverged_at}.")
    if state == "interrupted":
        click.echo(f"Stopped after step {folder.status['step']}; resume with: {resume_command(path)}")
        sys.exit(INTERRUPTED)
    if state == "non_finite":
        message = folder.status["message"]
        click.echo(f"Error: training stopped: {message}; the last good checkpoint is kept", err=True)
        sys.exit(1)


def resume_command(run: Path) -> str:
    """The command that resumes a run."""
    return shlex.join(["arsbench", "resume", str(run)])
