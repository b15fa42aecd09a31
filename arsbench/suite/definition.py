"""The suite file: which contenders, settings and seeds compete on what, and how they are tuned."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from arsbench.config import config_from_dict, load_config, preset_names
from arsbench.config.optimizers import has_key
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
    """What every contender may spend on its search.

    Attributes:
        trials: the same number for each.
        seeds: on which every trial runs; none of them is the comparison's.
        changes: keys that a trial's configuration has otherwise than the comparison's, such as fewer epochs.
    """

    trials: int
    seeds: tuple[int, ...]
    changes: Sections


@dataclass(frozen=True)
class Suite:
    """A suite file, checked.

    Attributes:
        name: of the suite, and of its folder unless another is given.
        given: the file as a dict.
        base: the configuration that it names, as a dict.
        seeds: the comparison's.
        baseline: the contender that the others are compared with, or None.
        contenders: in the file's order, grids expanded.
        tuning: None without.
    """

    name: str
    given: dict[str, Any]
    base: Sections
    seeds: tuple[int, ...]
    baseline: str | None
    contenders: tuple[Contender, ...]
    tuning: Tuning | None

    @property
    def task(self) -> str:
        """The one task, with its label."""
        return config_from_dict(self.contenders[0].sections).task


def suite_names() -> list[str]:
    """Names of the suites that ship with the package."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in SUITES.iterdir() if entry.name.endswith(".toml")
    )


def suite_text(name: str) -> str:
    """A shipped suite's TOML.

    Raises:
        UserError: there is none of that name.
    """
    if name not in suite_names():
        raise UserError(f"no suite is called {name!r}{nearest(name, suite_names())}")
    return (SUITES / f"{name}.toml").read_text(encoding="utf-8")


def load_suite(source: str) -> Suite:
    """Read a suite and check it; see `read_suite` and `check_suite` for the errors."""
    suite = read_suite(source)
    check_suite(suite)
    return suite


def read_suite(source: str) -> Suite:
    """Read a suite whose configurations may be wrong, as those of an older version's suite may be today.

    Args:
        source: path of a .toml file, or the name of a suite that ships.

    Raises:
        UserError: the file is missing or malformed.
    """
    path = Path(source)
    if path.suffix != ".toml" and source in suite_names():
        given = parse_toml(suite_text(source))
        return planned_suite(given, _base(given, Path()))
    given = read_document(
        path,
        "TOML",
        "suite",
        missing=f"no suite file or preset is called {shown(source)}{nearest(source, suite_names())}",
    )
    return planned_suite(given, _base(given, path.parent))


def suite_from_dict(given: dict[str, Any], base: Sections) -> Suite:
    """A checked `Suite` of a suite file's content (see `load_suite` for the errors).

    Args:
        given: the content.
        base: the configuration that it names.
    """
    suite = planned_suite(given, base)
    check_suite(suite)
    return suite


def check_suite(suite: Suite) -> None:
    """Check every configuration of a suite.

    Raises:
        UserError: a value is out of range, or an optimizer lacks a key that is named for it.
    """
    for contender in suite.contenders:
        _check(contender, suite.seeds[0], suite.tuning)
    _check_shared(suite.given.get("set", {}), suite.contenders)


def planned_suite(given: dict[str, Any], base: Sections) -> Suite:
    """The `Suite` of a plan, whose configurations `check_suite` checked when it was planned.

    Every process of a suite reads the plan, several times: it must not cost what the checks do.

    Args:
        given, base: as of `suite_from_dict`.
    """
    name = read_name(given, "name")
    if not slug(name):
        raise UserError(f"name is {shown(name)}; it names a folder and needs a letter or digit")
    check_plain(given)
    seeds = read_seeds("seeds", given.get("seeds"))
    tuning = _tuning(given["tuning"], seeds) if "tuning" in given else None
    changes = read_changes("set", given.get("set", {}), optimizer=True)
    contenders = read_contenders(read_table("contenders", given.get("contenders", {})), base, changes)
    baseline = given.get("baseline")
    names = [contender.name for contender in contenders]
    if baseline is not None and baseline not in names:
        raise UserError(f"baseline {shown(baseline)} is no contender{nearest(str(baseline), names)}")
    runs = len(seeds) * len(contenders)
    if runs > MOST_RUNS:
        raise UserError(
            f"the suite has {runs:,} runs, {len(contenders):,} contenders with {len(seeds):,} seeds each; it "
            f"may have at most {MOST_RUNS:,}"
        )
    return Suite(name, given, base, seeds, baseline, tuple(contenders), tuning)


def _check(contender: Contender, seed: int, tuning: Tuning | None) -> None:
    """Every configuration that the contender may be run with, and what belongs to tuning."""
    if tuning is None and contender.search:
        raise UserError(
            f"contender {contender.name!r} has a search, and the suite no [tuning]; add or remove it"
        )
    if tuning is not None and "lr" not in contender.search:
        raise UserError(
            f"contender {contender.name!r} has no search.lr, and [tuning] tunes every learning rate; "
            f"add one, such as search.lr = {{ low = 1e-4, high = 1e-2, log = true }}"
        )
    try:
        contender.check(seed)
        if tuning is not None:
            contender.check(seed, tuning.changes)
    except UserError as error:
        raise UserError(f"contender {contender.name!r}: {error}") from None


def _check_shared(table: Any, contenders: tuple[Contender, ...]) -> None:
    """Refuse keys of the section `optimizer` that the suite sets for all contenders and none of them has."""
    names = sorted({name for contender in contenders for name in contender.optimizers})
    for key in read_changes("set", table, optimizer=True).get("optimizer", {}):
        if not any(has_key(name, key) for name in names):
            raise UserError(
                f"set.optimizer.{key} is a key that no contender's optimizer ({', '.join(names)}) has; "
                f"remove it"
            )


def _tuning(table: Any, comparison: tuple[int, ...]) -> Tuning:
    table = read_table("tuning", table)
    check_keys("tuning.", table, _TUNING_KEYS)
    trials = table.get("trials")
    if type(trials) is not int or not 1 <= trials <= MOST_TRIALS:
        raise UserError(
            f"tuning.trials is {shown(trials)}; it must be a whole number of at least 1 "
            f"and at most {MOST_TRIALS:,}"
        )
    seeds = read_seeds("tuning.seeds", table.get("seeds"))
    shared = sorted(set(seeds) & set(comparison))
    if shared:
        raise UserError(
            f"tuning.seeds and seeds share {', '.join(map(str, shared))}; tune on seeds that the "
            f"comparison does not use"
        )
    changes = read_changes("tuning.set", table.get("set", {}), optimizer=False)
    if "stop_at" in changes.get("train", {}):
        raise UserError(
            "tuning.set.train.stop_at cannot be set: trials run to their end, since the last value of a run "
            "that stops at a target tells nothing; set train.epochs or train.max_steps"
        )
    return Tuning(trials, seeds, merged(changes, {"train": {"stop_at": None}}))


def _base(given: dict[str, Any], directory: Path) -> Sections:
    """The configuration that a suite names: a preset, or a file relative to `directory`."""
    check_keys("", given, _KEYS)
    config = read_name(given, "config")
    return load_config(config if config in preset_names() else str(directory / config)).given
