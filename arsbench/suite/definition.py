"""The suite file: which contenders, settings and seeds compete on what, and how they are tuned."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from arsbench.config import config_from_dict, load_config, preset_names
from arsbench.errors import UserError, nearest
from arsbench.suite.contender import Contender, read_contenders
from arsbench.suite.entries import (
    Sections,
    check_keys,
    check_plain,
    merged,
    read_changes,
    read_seeds,
    read_table,
    read_text,
    slug,
)

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
    """Read a suite.

    Args:
        source: path of a .toml file, or the name of a suite that ships.

    Raises:
        UserError: the file is missing or malformed, or anything in it is wrong.
    """
    path = Path(source)
    if path.suffix != ".toml" and source in suite_names():
        given = tomllib.loads(suite_text(source))
        return suite_from_dict(given, _base(given, Path()))
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = nearest(source, suite_names())
        raise UserError(f"no suite file or preset is called {source!r}{hint}") from None
    except OSError as error:
        raise UserError(f"cannot read the suite {source}: {error.strerror}; give a TOML file") from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise UserError(f"{source} is not valid TOML: {error}; correct it there") from None
    return suite_from_dict(given, _base(given, path.parent))


def suite_from_dict(given: dict[str, Any], base: Sections) -> Suite:
    """A checked `Suite` of a suite file's content (see `load_suite` for the errors).

    Args:
        given: the content.
        base: the configuration that it names.
    """
    name = read_text(given, "name")
    if not slug(name):
        raise UserError(f"name is {name!r}; it names a folder and needs a letter or digit")
    check_plain(given)
    seeds = read_seeds("seeds", given.get("seeds"))
    tuning = _tuning(given["tuning"], seeds) if "tuning" in given else None
    changes = read_changes("set", given.get("set", {}), optimizer=True)
    contenders = read_contenders(read_table("contenders", given.get("contenders", {})), base, changes)
    baseline = given.get("baseline")
    names = [contender.name for contender in contenders]
    if baseline is not None and baseline not in names:
        raise UserError(f"baseline {baseline!r} is no contender{nearest(str(baseline), names)}")
    for contender in contenders:
        _check(contender, seeds[0], tuning)
    return Suite(name, given, base, seeds, baseline, tuple(contenders), tuning)


def _check(contender: Contender, seed: int, tuning: Tuning | None) -> None:
    """Every configuration that the contender may be run with, as far as it is known before tuning."""
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
        for values in itertools.product(*(p.bounds() for p in contender.search.values())):
            point = dict(zip(contender.search, values, strict=True))
            contender.config(seed, point)
            if tuning is not None:
                contender.config(seed, point, tuning.changes)
    except UserError as error:
        raise UserError(f"contender {contender.name!r}: {error}") from None


def _tuning(table: Any, comparison: tuple[int, ...]) -> Tuning:
    table = read_table("tuning", table)
    check_keys("tuning.", table, _TUNING_KEYS)
    trials = table.get("trials")
    if type(trials) is not int or trials < 1:
        raise UserError(f"tuning.trials is {trials!r}; it must be a whole number of at least 1")
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
    config = read_text(given, "config")
    return load_config(config if config in preset_names() else str(directory / config)).given
