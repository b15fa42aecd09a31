"""`arsbench info`: versions, build, kernels, presets."""

from __future__ import annotations

import click

from .common import json_option, print_json


@click.command(epilog="Example: arsbench info --json")
@json_option
def info(as_json: bool) -> None:
    """Show versions, how the compiled part was built, the backend of each op on each device, the presets."""
    import torch

    from arsbench import ops
    from arsbench.config import preset_names
    from arsbench.environment import environment

    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    facts = environment(torch.device(devices[-1]))
    del facts["device"], facts["backends"]
    facts |= {
        "build": ops.build_info(),
        "kernels": {device: ops.backends(device) for device in devices},
        "presets": preset_names(),
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for key, entry in value.items():
                shown = ", ".join(f"{k}: {v}" for k, v in entry.items()) if isinstance(entry, dict) else entry
                click.echo(f"  {key:22} {shown}")
        else:
            click.echo(f"{name:10} {', '.join(value) if isinstance(value, list) else value}")
