"""The `arsbench` command: its subcommands and the handling of their errors.

Nothing here imports torch; a subcommand imports it when it runs. So `--help` and shell completion answer at
once.
"""

from __future__ import annotations

import os
import sys
from traceback import walk_tb

import click

import arsbench
from arsbench.errors import INTERRUPTED, UserError, shown

from . import compare, data, evaluate, export, info, presets, profile, report, sample, suite, train
from .common import echo_line
from .output import OutputError, drop_lost_output, guard_output


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
    epilog="Example: arsbench train demo\n\n\b\nShell completion:\n"
    '  bash: add to ~/.bashrc   eval "$(_ARSBENCH_COMPLETE=bash_source arsbench)"\n'
    '  zsh:  add to ~/.zshrc    eval "$(_ARSBENCH_COMPLETE=zsh_source arsbench)"',
)
@click.version_option(arsbench.__version__, prog_name="arsbench")
def cli() -> None:
    """Is an optimizer better, on real text, at an honest cost?"""


for command in (
    train.train,
    train.resume,
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
    """Refuse bytes that are not UTF-8: neither a report nor standard output can hold them."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"the argument {shown(argument)} is not valid UTF-8; rename or retype it"
            ) from None


def main() -> None:
    """Run the command line and exit: 0 done, 1 the run failed, 2 bad input, 130 stopped by Ctrl-C."""
    guard_output()
    sys.path.append(os.getcwd())  # for optimizers in a user's file, as with `python -m`
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
    except OutputError as error:
        click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
        drop_lost_output()  # or the interpreter complains about its unwritten buffer
        code = 2
    except OSError as error:
        echo_line(f"Error: {_reason(error)}", err=True)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        code = INTERRUPTED
    sys.exit(code)


def _reason(error: OSError) -> str:
    """The system's error, with the file and the function of arsbench as far as they are available."""
    names = [f"{f.f_globals.get('__name__', '')}.{f.f_code.co_name}" for f, _ in walk_tb(error.__traceback__)]
    inner = [name for name in names if name.startswith("arsbench.")]
    where = f" (in {inner[-1]})" if inner else ""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}{where}; check that path"
    return (
        f"{error.strerror or str(error) or type(error).__name__}{where}; check disk and memory, and try again"
    )
