"""`arsbench info`: versions, build, kernels, presets."""

from __future__ import annotations

import click

from .common import echo_table, json_option, print_json


@click.command(epilog="Example: arsbench info --json")
@json_option
def info(as_json: bool) -> None:
    """Show versions, build, kernels on each device, and presets."""
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
    rows = []
    for name, value in facts.items():
        if isinstance(value, dict):
            rows += [(name, ""), *((f"  {key}", _shown(entry)) for key, entry in value.items())]
        else:
            rows.append((name, _shown(value)))
    echo_table(rows)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
