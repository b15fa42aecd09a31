"""`arsbench data`: prepare and inspect a configuration's texts."""

from __future__ import annotations

from typing import Any

import click

from arsbench.config import load_config
from arsbench.errors import UserError
from arsbench.metrics import task_name

from .common import config_argument, echo_line, echo_table, json_option, print_json, set_option, warn


@click.group(epilog="Example: arsbench data inspect demo")
def data() -> None:
    """Prepare or inspect a configuration's texts."""


@data.command(epilog="Example: arsbench data prepare demo")
@config_argument
@set_option
def prepare(config: str, overrides: tuple[str, ...]) -> None:
    """Train CONFIG's tokenizer and pack its rows."""
    corpus = _corpus(config, overrides)
    echo_line(corpus.origin)
    echo_line(f"tokenizer: {corpus.tokenizer.path}, {corpus.tokenizer.vocabulary_size:,} entries")
    for name, split in corpus.splits().items():
        click.echo(f"{name}: {split.statistics.rows:,} rows, {split.statistics.tokens:,} tokens")


@data.command(epilog="Example: arsbench data inspect seed-mini --json")
@config_argument
@set_option
@json_option
def inspect(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show statistics of CONFIG's splits and a few decoded rows."""
    description = _corpus(config, overrides).describe()
    if as_json:
        print_json(description)
        return
    echo_line(description["origin"])
    for name, figures in description["splits"].items():
        click.echo(f"\n{name}")
        examples = figures.pop("examples")
        shown = {k: f"{v:,}" if isinstance(v, int) else f"{v:.1%}" for k, v in figures.items()}
        echo_table([(f"  {key.replace('_', ' ')}", value) for key, value in shown.items()], right=1)
        echo_table([("  row:", repr(text[:200])) for text in examples])


def _corpus(config: str, overrides: tuple[str, ...]) -> Any:
    from arsbench.data import load_corpus

    loaded = load_config(config, overrides, warn)
    if task_name(loaded.task) != "wikitext2_line":
        raise UserError(f"{loaded.task} reads no texts; give a configuration of wikitext2_line")
    return load_corpus(
        loaded.data,
        vocabulary_size=loaded.model.vocabulary_size,
        sequence_length=loaded.model.sequence_length,
    )
