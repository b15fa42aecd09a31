"""`arsbench presets`: the built-in configurations."""

from __future__ import annotations

import click

from arsbench.config import load_config, preset_names, preset_text

from .common import echo_presets, json_option, print_json
from .completion import config_names


@click.command(epilog="Example: arsbench presets demo > mine.toml")
@click.argument("name", required=False, shell_complete=config_names)
@json_option
def presets(name: str | None, as_json: bool) -> None:
    """List the built-in configurations, or print NAME as TOML."""
    if as_json:
        print_json(load_config(name).given if name else preset_names())
    elif name:
        click.echo(preset_text(name), nl=False)
    else:
        echo_presets(preset_names(), preset_text)
