"""What the shell completes: configurations, suites, runs, keys of `--set`, metrics.

Imports no torch: completion answers at once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from glob import escape, glob

import click
from click.shell_completion import BashComplete, CompletionItem, ZshComplete, add_completion_class

from arsbench.config import SECTIONS, preset_names
from arsbench.config.hyperparameters import BUILT_IN
from arsbench.metrics import METRICS


def _completion(
    words: Callable[[str], Iterable[str]] = lambda incomplete: (),
    suffixes: Iterable[str] = (),
    markers: Iterable[str] = (),
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """A `shell_complete` function. Where nothing matches, the shell completes files or folders by itself.

    Args:
        words: takes the incomplete word; those of its words that begin with it are offered.
        suffixes: files with these suffixes are offered.
        markers: folders that hold a file of these names are offered.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        start = escape(incomplete)
        offered = {word for word in words(incomplete) if word.startswith(incomplete)}
        for pattern in ("*", "*/*") if incomplete else ("*",):
            offered.update(path for suffix in suffixes for path in glob(start + pattern + suffix))
        for pattern in ("*/", "*/*/"):
            offered.update(os.path.dirname(path) for name in markers for path in glob(start + pattern + name))
        if offered or not (suffixes or markers):
            return [CompletionItem(word) for word in sorted(offered)]
        return [CompletionItem(incomplete, type="file" if suffixes else "dir")]

    return complete


def _suite_presets(incomplete: str) -> list[str]:
    from arsbench.suite import suite_names

    return suite_names()


def _overrides(incomplete: str) -> Iterator[str]:
    """`section.key=`, or the key's values once the equals sign is there."""
    for section, table in SECTIONS.items():
        for field in dataclasses.fields(table):
            word = f"{section}.{field.name}="
            values = BUILT_IN if word == "optimizer.name=" else field.metadata.get("choices", ())
            values = ("false", "true") if isinstance(field.default, bool) else values
            yield from (f"{word}{value}" for value in values) if incomplete.startswith(word) else [word]


configs = _completion(lambda incomplete: preset_names(), suffixes=(".toml", ".json"))
config_names = _completion(lambda incomplete: preset_names())
suites = _completion(_suite_presets, suffixes=(".toml",))
suite_names = _completion(_suite_presets)
runs = _completion(markers=("status.json",))
suite_folders = _completion(markers=("plan.json",))
run_or_suite_folders = _completion(markers=("status.json", "plan.json"))
sources = _completion(suffixes=(".md",), markers=("status.json", "plan.json"))
overrides = _completion(_overrides)
metrics = _completion(lambda incomplete: {metric.name for table in METRICS.values() for metric in table})


@add_completion_class
class Bash(BashComplete):
    """Bash breaks words at "=" and adds a blank after every completed word.

    Words of `--set` are joined again, and no blank is added after `section.key=`.
    """

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value); [[ $value == *= ]] && compopt -o nospace"
    )
    _kept = ""  # the part of the word that Bash does not replace

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the incomplete one, and that one."""
        args, incomplete = super().get_completion_args()
        words: list[str] = []
        for word in (*args, incomplete):
            last = words[-1] if words else "-"
            if not last.startswith("-") and (word == "=" or last.endswith("=")):
                words[-1] += word
                self._kept = words[-1][: words[-1].rindex("=") + 1]
            else:
                words.append(word)
                self._kept = ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """The type and the part of the word that Bash replaces."""
        return f"{item.type},{item.value.removeprefix(self._kept)}"


@add_completion_class
class Zsh(ZshComplete):
    """Zsh adds a blank after every completed word; here none after `section.key=`."""

    source_template = ZshComplete.source_template.replace(
        "compadd -U -V unsorted -a completions",
        "compadd -U -V unsorted -S '' -- ${(M)completions:#*=}; compadd -U -V unsorted -- ${completions:#*=}",
    )
