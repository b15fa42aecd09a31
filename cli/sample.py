"""`arsbench sample`: a trained model continues a text."""

from __future__ import annotations

import click

from arsbench.runs.folder import RunFolder

from .common import json_option, print_json, run_argument, warn


@click.command(epilog='Example: arsbench sample runs/demo --prompt "Return the"')
@run_argument
@click.option("--prompt", required=True, help="The text to continue.")
@click.option("--tokens", default=60, type=click.IntRange(1), help="Maximum number of new tokens.")
@click.option("--temperature", default=0.8, help="Divides the logits; 0 takes the most likely token.")
@click.option("--seed", default=0, type=click.IntRange(0, 2**63 - 1), help="Seed of the random draws.")
@json_option
def sample(run: RunFolder, prompt: str, tokens: int, temperature: float, seed: int, as_json: bool) -> None:
    """Continue a text to the end of a sentence, by RUN's newest model."""
    from arsbench.training import sample_run

    text = sample_run(run, prompt, tokens, temperature, seed, warn)
    if as_json:
        print_json({"prompt": prompt, "text": text})
    else:
        click.echo(prompt + text)
