"""What the shell completes: configurations, suites, runs, keys of `--set`, metrics.

Imports no torch: completion answers at once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, ZshComplete, add_completion_class

from arsbench.config import SECTIONS, preset_names
from arsbench.config.optimizers import BUILT_IN
from arsbench.metrics import METRICS

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completion(candidates: Callable[[str], Iterable[str]], otherwise: str | None = None) -> Completion:
    """A `shell_complete` function.

    Args:
        candidates: takes the incomplete word and returns words; those that begin with it are offered.
        otherwise: "file" or "dir", completed by the shell where no word fits.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        words = sorted({word for word in candidates(incomplete) if word.startswith(incomplete)})
        if not words and otherwise is not None:
            return [CompletionItem(incomplete, type=otherwise)]
        return [CompletionItem(word) for word in words]

    return complete


def _files(incomplete: str, *suffixes: str) -> Iterator[str]:
    """Files with these suffixes in the word's folder, and in a folder of which the word is the beginning."""
    folder, beginning = os.path.split(incomplete)
    for path in _entries(folder):
        inside = _entries(path) if beginning and path.name.startswith(beginning) else []
        yield from (str(file) for file in (path, *inside) if file.suffix in suffixes and file.is_file())


def _folders(root: str, marker: str) -> Iterator[str]:
    """Folders in `root` that hold the file `marker`."""
    return (str(path) for path in _entries(root) if (path / marker).is_file())


def _entries(folder: str | Path) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except OSError:
        return []


def _suite_presets() -> list[str]:
    from arsbench.suite import suite_names

    return suite_names()


def _runs(incomplete: str) -> Iterator[str]:
    yield from _folders("runs", "status.json")
    yield from _folders(os.path.dirname(incomplete) or ".", "status.json")


def _suites(incomplete: str) -> Iterator[str]:
    yield from _folders("suites", "plan.json")
    yield from _folders(os.path.dirname(incomplete) or ".", "plan.json")


def _overrides(incomplete: str) -> Iterator[str]:
    """`section.key=`, or the key's values once the equals sign is there."""
    for section, table in SECTIONS.items():
        for field in dataclasses.fields(table):
            word = f"{section}.{field.name}="
            if not incomplete.startswith(word):
                yield word
                continue
            values = ("true", "false") if isinstance(field.default, bool) else field.metadata.get("choices")
            names = BUILT_IN if word == "optimizer.name=" else values or ()
            yield from (f"{word}{name}" for name in names)


configs = _completion(lambda word: [*preset_names(), *_files(word, ".toml", ".json")], "file")
config_names = _completion(lambda word: preset_names())
suites = _completion(lambda word: [*_suite_presets(), *_files(word, ".toml")], "file")
suite_names = _completion(lambda word: _suite_presets())
runs = _completion(_runs, "dir")
suite_folders = _completion(_suites, "dir")
sources = _completion(lambda word: [*_runs(word), *_suites(word), *_files(word, ".md")], "file")
overrides = _completion(_overrides)
metrics = _completion(lambda word: {metric.name for metrics in METRICS.values() for metric in metrics})


@add_completion_class
class Bash(BashComplete):
    """Bash breaks words at "=", and adds a blank after every completed word.

    Words of `--set` are put together again, and no blank is added after `section.key=`.
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
