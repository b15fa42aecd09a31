"""Configurations: keys (`schema`, `optimizers`), reading (`loading`), checking (`checking`), presets."""

from arsbench.config.checking import config_from_dict
from arsbench.config.loading import load_config, preset_names, preset_text
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
