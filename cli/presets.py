"""`arsbench presets`: the configurations that ship."""

from __future__ import annotations

import click

from arsbench.config import load_config, preset_names, preset_text

from .common import json_option, print_json


@click.command(epilog="Example: arsbench presets demo > mine.toml")
@click.argument("name", required=False)
@json_option
def presets(name: str | None, as_json: bool) -> None:
    """List the presets, or print the one called NAME as TOML to start your own from."""
    if as_json:
        print_json(load_config(name).given if name else preset_names())
    elif name:
        click.echo(preset_text(name), nl=False)
    else:
        for preset in preset_names():
            first_line = preset_text(preset).splitlines()[0].removeprefix("# ")
            click.echo(f"{preset:10} {first_line}")
