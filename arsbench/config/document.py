"""The reference of all keys, generated from their declarations.

python -m arsbench.config.document > docs/configuration.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from arsbench.config.hyperparameters import METADATA
from arsbench.config.keys import limits
from arsbench.config.schema import SECTIONS

HEAD = """# Configuration keys

A configuration is a JSON or TOML file with the sections and keys below. A key that is not set has its
default. `arsbench presets NAME` prints a preset to start from, and `--set section.key=value` overrides one
key on the command line.

A third-party optimizer (`name = "package.module:Class"`) also takes the keyword arguments of its class as
keys of the section `optimizer`; see [third_party.md](third_party.md).

A built-in optimizer ignores keys in a file that it does not have, so that one file serves several optimizers.
In `--set` such a key is an error. If `--set optimizer.name=` names a different optimizer than the file, the
other keys of the file's section `optimizer` are dropped, and the optimizer starts from the defaults of its
constructor.

`python -m arsbench.config.document` generates this page from `arsbench/config/schema.py` and
`arsbench/config/hyperparameters.py`.
"""
CONSTRUCTORS = """
The constructors in `arsbench.optim` have the same defaults, except:

| key | default | constructor |
| --- | --- | --- |"""


def document() -> str:
    """The whole page, in Markdown."""
    return HEAD + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    for name, section in SECTIONS.items():
        yield f"\n## {name}\n"
        yield "| key | type | default | meaning |"
        yield "| --- | --- | --- | --- |"
        for entry in fields(section):
            default = entry.default if entry.default_factory is MISSING else entry.default_factory()
            shown = "" if default is None else f"`{json.dumps(default)}`"
            kind = entry.type.removesuffix(" | None").replace("[", " of ").replace("]", "")
            words = f"{entry.metadata['doc']}{_limits(entry.metadata)}"
            yield f"| `{entry.name}` | {kind} | {shown} | {words} |"
        if name == "optimizer":
            yield CONSTRUCTORS
            for key, metadata in METADATA.items():
                for optimizer, default in metadata.get("class_defaults", {}).items():
                    yield f"| `{key}` | `{json.dumps(default)}` | {optimizer} |"


def _limits(metadata: Mapping[str, Any]) -> str:
    words = limits(metadata)
    if "choices" in metadata:
        words.append(" or ".join(f"`{choice}`" for choice in metadata["choices"]))
    return f" ({', '.join(words)})" if words else ""


if __name__ == "__main__":
    print(document(), end="")
