"""Configurations: their keys (`schema`), reading and checking them (`loading`), and the presets."""

from arsbench.config.loading import config_from_dict, load_config, preset_names, preset_text
from arsbench.config.schema import SECTIONS, Config, effective

__all__ = [
    "SECTIONS",
    "Config",
    "config_from_dict",
    "effective",
    "load_config",
    "preset_names",
    "preset_text",
]
