"""`arsbench data`: texts to rows, and a look at them."""

from __future__ import annotations

from typing import Any

import click

from .common import config_argument, json_option, print_json, set_option, warn


@click.group(epilog="Example: arsbench data inspect demo")
def data() -> None:
    """Prepare a configuration's texts, or look at them."""


@data.command(epilog="Example: arsbench data prepare demo")
@config_argument
@set_option
def prepare(config: str, overrides: tuple[str, ...]) -> None:
    """Train the tokenizer and pack the rows of CONFIG, so that training starts at once."""
    corpus = _corpus(config, overrides)
    click.echo(f"{corpus.origin}")
    click.echo(f"tokenizer: {corpus.tokenizer.path}, {corpus.tokenizer.vocabulary_size:,} entries")
    for name, split in corpus.splits().items():
        click.echo(f"{name}: {split.statistics.rows:,} rows, {split.statistics.tokens:,} tokens")


@data.command(epilog="Example: arsbench data inspect seed-mini --json")
@config_argument
@set_option
@json_option
def inspect(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show texts, sentences, rows, tokens and padding of CONFIG's splits, and a few decoded rows."""
    description = _corpus(config, overrides).describe()
    if as_json:
        print_json(description)
        return
    click.echo(description["origin"])
    for name, figures in description["splits"].items():
        click.echo(f"\n{name}")
        examples = figures.pop("examples")
        for key, value in figures.items():
            shown = f"{value:,}" if isinstance(value, int) else f"{value:.1%}"
            click.echo(f"  {key.replace('_', ' '):18} {shown:>12}")
        for text in examples:
            click.echo(f"  row: {text[:200]!r}")


def _corpus(config: str, overrides: tuple[str, ...]) -> Any:
    from arsbench.config import load_config
    from arsbench.data import prepare as prepare_data
    from arsbench.errors import UserError
    from arsbench.metrics import task_name

    loaded = load_config(config, overrides, warn)
    if task_name(loaded.task) != "wikitext2_line":
        raise UserError(f"{loaded.task} reads no texts; give a configuration of wikitext2_line")
    return prepare_data(
        loaded.data,
        vocabulary_size=loaded.model.vocabulary_size,
        sequence_length=loaded.model.sequence_length,
    )
