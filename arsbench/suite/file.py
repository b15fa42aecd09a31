"""The suite file: the contenders, the seeds, the task, and how contenders are tuned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from arsbench.config import config_from_dict, load_config, preset_names, preset_text
from arsbench.config.hyperparameters import has_key
from arsbench.config.loading import follow_source
from arsbench.config.schema import ExperimentConfig
from arsbench.documents import parse_toml, read_document
from arsbench.errors import UserError, nearest, shown
from arsbench.suite.contender import Contender, read_contenders
from arsbench.suite.entries import (
    Sections,
    check_keys,
    check_plain,
    merged,
    read_changes,
    read_name,
    read_seeds,
    read_table,
    slug,
)

MOST_RUNS = 10_000
MOST_TRIALS = 10_000

SUITES = resources.files("arsbench.config") / "suites"

_KEYS = ("name", "config", "seeds", "baseline", "set", "contenders", "tuning")
_TUNING_KEYS = ("trials", "seeds", "set")


@dataclass(frozen=True)
class Tuning:
    """The search budget, the same for every contender.

    Attributes:
        trials: number of trials.
        seeds: seeds on which every trial runs; disjoint from the comparison's.
        changes: sections and keys that differ in trials, such as fewer epochs.
    """

    trials: int
    seeds: tuple[int, ...]
    changes: Sections


@dataclass(frozen=True)
class Suite:
    """A suite file.

    Attributes:
        name: the suite's name, and its folder's by default.
        content: the file as a dict.
        base: the configuration that the file names, as a dict.
        seeds: seeds of the comparison.
        baseline: the contender that the others are compared with, or None.
        contenders: in the file's order, grids expanded.
        tuning: the search budget; None without tuning.
    """

    name: str
    content: dict[str, Any]
    base: Sections
    seeds: tuple[int, ...]
    baseline: str | None
    contenders: tuple[Contender, ...]
    tuning: Tuning | None

    @property
    def task(self) -> str:
        """The task of all contenders, with its label."""
        return config_from_dict(self.contenders[0].sections).task


suite_names = partial(preset_names, SUITES)
suite_text = partial(preset_text, folder=SUITES)


def read_suite(source: str) -> Suite:
    """Read the suite in a .toml file, or the built-in one of that name.

    `check_suite` checks its configurations, which may be invalid in a suite of an older version.

    Raises:
        UserError: the file is missing or malformed.
    """
    path, directory = Path(source), Path()
    if path.suffix != ".toml" and source in suite_names():
        content = parse_toml(suite_text(source))
    else:
        missing = f"no suite file or preset is called {shown(source)}{nearest(source, suite_names())}"
        content, directory = read_document(path, "TOML", "suite", missing=missing), path.parent
    check_keys("", content, _KEYS)
    config = read_name(content, "config")
    base = load_config(config if config in preset_names() else str(directory / config)).given
    return suite_from_dict(content, base)


def suite_from_dict(content: dict[str, Any], base: Sections, task: str | None = None) -> Suite:
    """The suite of a parsed file and the configuration that it names, a dict; configurations are not checked.

    Every process of a suite reads the plan, several times: this must not cost what `check_suite` does. `task`
    is that of a suite that was begun, which keeps its label; by default the label follows the text.

    Raises:
        UserError: the content is malformed.
    """
    name = read_name(content, "name")
    if not slug(name):
        raise UserError(f"name is {shown(name)}; it names a folder and needs a letter or digit")
    check_plain(content)
    seeds = read_seeds("seeds", content.get("seeds"))
    tuning = _tuning(content["tuning"], seeds) if "tuning" in content else None
    changes = read_changes("set", content.get("set", {}), optimizer=True)
    if "tasks" not in changes.get("experiment", {}):
        before = base.get("experiment", {}).get("tasks") or ExperimentConfig().tasks
        task = task or follow_source(before[0], base.get("data", {}), merged(base, changes).get("data", {}))
        changes = merged(changes, {"experiment": {"tasks": [task]}} if task != before[0] else {})
    contenders = read_contenders(read_table("contenders", content.get("contenders", {})), base, changes)
    baseline = content.get("baseline")
    names = [contender.name for contender in contenders]
    if baseline is not None and baseline not in names:
        raise UserError(f"baseline {shown(baseline)} is no contender{nearest(str(baseline), names)}")
    runs = len(seeds) * len(contenders)
    if runs > MOST_RUNS:
        raise UserError(
            f"the suite has {runs:,} runs ({len(contenders):,} contenders, {len(seeds):,} seeds each); it "
            f"may have at most {MOST_RUNS:,}"
        )
    return Suite(name, content, base, seeds, baseline, tuple(contenders), tuning)


def check_suite(suite: Suite) -> None:
    """Check every configuration of a suite.

    Raises:
        UserError: a value is out of range, an optimizer lacks a key that the suite sets for it, or a search
            and the tuning do not fit together.
    """
    for contender in suite.contenders:
        if suite.tuning is None and contender.search:
            raise UserError(
                f"contender {contender.name!r} has a search but the suite has no [tuning]; "
                f"add it, or remove it"
            )
        if suite.tuning is not None and "lr" not in contender.search:
            raise UserError(
                f"contender {contender.name!r} has no search.lr, but [tuning] needs one; "
                f"add it, such as search.lr = {{ low = 1e-4, high = 1e-2, log = true }}"
            )
        try:
            contender.check(suite.seeds[0])
            if suite.tuning is not None:
                contender.check(suite.seeds[0], suite.tuning.changes)
        except UserError as error:
            raise UserError(f"contender {contender.name!r}: {error}") from None
    names = sorted({name for contender in suite.contenders for name in contender.optimizers})
    changes = read_changes("set", suite.content.get("set", {}), optimizer=True)
    for key in changes.get("optimizer", {}):
        if not any(has_key(name, key) for name in names):
            raise UserError(
                f"no optimizer of the suite ({', '.join(names)}) has the key set.optimizer.{key}; remove it"
            )


def _tuning(table: Any, comparison: tuple[int, ...]) -> Tuning:
    table = read_table("tuning", table)
    check_keys("tuning.", table, _TUNING_KEYS)
    trials = table.get("trials")
    if type(trials) is not int or not 1 <= trials <= MOST_TRIALS:
        raise UserError(
            f"tuning.trials is {shown(trials)}; it must be a whole number from 1 to {MOST_TRIALS:,}"
        )
    seeds = read_seeds("tuning.seeds", table.get("seeds"))
    shared = sorted(set(seeds) & set(comparison))
    if shared:
        raise UserError(
            f"tuning.seeds and seeds share {', '.join(map(str, shared))}; use different seeds for tuning"
        )
    changes = read_changes("tuning.set", table.get("set", {}), optimizer=False)
    if "stop_at" in changes.get("train", {}):
        raise UserError(
            "tuning.set.train.stop_at is not allowed: trials are judged by their last value and must "
            "not stop at a target; set train.epochs or train.max_steps"
        )
    return Tuning(trials, seeds, merged(changes, {"train": {"stop_at": None}}))
