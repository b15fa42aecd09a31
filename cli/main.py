"""The `arsbench` command: its subcommands, and what becomes of their errors.

Nothing here imports torch, and every subcommand imports it only when it runs, so that `--help` and shell
completion answer at once.
"""

from __future__ import annotations

import os
import sys

import click

import arsbench
from arsbench.errors import UserError, shown

from . import compare, data, evaluate, export, info, presets, profile, report, sample, suite, train
from .common import echo_line

INTERRUPTED = 130  # what a shell reports of a program that SIGINT ended


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: arsbench train demo",
)
@click.version_option(arsbench.__version__, prog_name="arsbench")
def cli() -> None:
    """Is an optimizer better, on real text, at an honest cost?"""


for command in (
    train.train,
    evaluate.evaluate,
    suite.suite,
    compare.compare,
    profile.profile,
    report.report,
    export.export,
    data.data,
    info.info,
    presets.presets,
    sample.sample,
):
    cli.add_command(command)


def _require_text(arguments: list[str]) -> None:
    """Refuse bytes that are not UTF-8, which neither a report nor standard output could hold."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"the argument {shown(argument)} is not valid UTF-8; rename or retype it"
            ) from None


def main() -> None:
    """Run the command line and exit: 0 done, 1 the run went wrong, 2 bad input, 130 stopped by Ctrl-C."""
    sys.path.append(os.getcwd())  # for an optimizer in a file of the user's, as under `python -m`
    try:
        _require_text(sys.argv[1:])
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except UserError as error:
        echo_line(f"Error: {error}", err=True)
        code = 2
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OSError as error:
        if error.filename is not None:
            click.echo(f"Error: {error.filename}: {error.strerror}; check that path", err=True)
            sys.exit(2)
        # Nobody can read what comes next: keep the interpreter from trying to flush it again on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"Error: cannot write the output: {error.strerror or error}", err=True)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    sys.exit(code)
