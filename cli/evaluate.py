"""`arsbench eval`: evaluate a run on its task's splits by every protocol of the task."""

from __future__ import annotations

import click

from arsbench.errors import UserError
from arsbench.metrics import perplexity_text
from arsbench.runs.folder import RunFolder

from .common import echo_line, json_option, print_json, run_argument, warn


@click.command("eval", epilog="Example: arsbench eval runs/demo --split test")
@run_argument
@click.option(
    "--split", "splits", metavar="NAME", multiple=True, help="validation or test [default: all splits]."
)
@json_option
def evaluate(run: RunFolder, splits: tuple[str, ...], as_json: bool) -> None:
    """Evaluate RUN's newest checkpoint by every protocol of its task."""
    from arsbench.training import evaluate_run

    results = evaluate_run(run, splits, warn)
    if not results:
        raise UserError(f"{run.path} has nothing to evaluate")
    if as_json:
        print_json(results)
        return
    for split, protocols in results.items():
        for protocol, figures in protocols.items():
            shown = ", ".join(f"{k.replace('_', ' ')} {_number(k, v)}" for k, v in figures.items())
            echo_line(f"{split}, {protocol}: {shown}")


def _number(name: str, value: float | int | None) -> str:
    if value is None:
        return "N/A"
    if name.endswith("perplexity"):
        return perplexity_text(value, ".4f")
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
