"""`arsbench presets`: the built-in configurations."""

from __future__ import annotations

import click

from arsbench.config import load_config, preset_names, preset_text

from .common import json_option, print_presets
from .completion import config_names


@click.command(epilog="Example: arsbench presets demo > mine.toml")
@click.argument("name", required=False, shell_complete=config_names)
@json_option
def presets(name: str | None, as_json: bool) -> None:
    """List the built-in configurations, or print NAME as TOML."""
    print_presets(name, as_json, preset_names(), preset_text, lambda source: load_config(source).given)
