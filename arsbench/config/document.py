"""The reference of all keys, made from the schema.

python -m arsbench.config.document > docs/configuration.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields

from arsbench.config.schema import SECTIONS

HEAD = """# Configuration keys

A configuration is a JSON or TOML file of these sections and keys; `--set section.key=value` overrides one on
the command line. What is not given has its default. `arsbench presets NAME` prints a preset to start from.
With an optimizer of another package (`name = "package.module:Class"`) the section `optimizer` takes that
class's own keyword arguments besides. Keys that a built-in optimizer does not have are ignored in a file, and
refused in `--set`. `--set optimizer.name=` with another optimizer than the file's drops the file's other keys
of the section, and the optimizer starts from the defaults of its constructor.

This page is made from `arsbench/config/schema.py` by `python -m arsbench.config.document`.
"""


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
            limits = _limits(entry.metadata)
            yield f"| `{entry.name}` | {_type(entry.type)} | {shown} | {entry.metadata['doc']}{limits} |"


def _type(annotation: str) -> str:
    return annotation.removesuffix(" | None").replace("[", " of ").replace("]", "")


def _limits(metadata: dict) -> str:
    words = {"minimum": "≥ {}", "maximum": "≤ {}", "above": "> {}", "below": "< {}"}
    limits = [text.format(f"{metadata[limit]:,}") for limit, text in words.items() if limit in metadata]
    if "choices" in metadata:
        limits.append(" or ".join(f"`{choice}`" for choice in metadata["choices"]))
    return f" ({', '.join(limits)})" if limits else ""


if __name__ == "__main__":
    print(document(), end="")
