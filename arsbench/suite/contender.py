"""The contenders of a suite file: optimizers with their settings, or grids of settings."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arsbench.config import Config, config_from_dict
from arsbench.config.hyperparameters import check_named_keys, is_third_party
from arsbench.config.schema import OptimizerConfig
from arsbench.errors import UserError, require_line, shown
from arsbench.suite.entries import Sections, merged, read_changes, read_table, slug
from arsbench.suite.search import Parameter, corners, read_parameter

MOST_CONTENDERS = 1000


@dataclass(frozen=True)
class Contender:
    """One optimizer with its settings.

    Attributes:
        name: its label, unique in the suite.
        sections: its whole configuration without the seed, for `config_from_dict`.
        search: its search space, by key of the section `optimizer`; empty without tuning.
        named: the keys of the section `optimizer` in its table, grid or search.
    """

    name: str
    sections: Sections
    search: dict[str, Parameter]
    named: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The name of its folder."""
        return slug(self.name)

    @property
    def optimizers(self) -> list[str]:
        """Its `optimizer.name`, or all names that tuning chooses from."""
        name = self.sections["optimizer"].get("name", OptimizerConfig.name)
        return self.search["name"].bounds() if "name" in self.search else [name]

    def config(
        self, seed: int, optimizer: Mapping[str, Any] | None = None, changes: Sections | None = None
    ) -> Config:
        """Its configuration with a seed.

        Args:
            seed: the run's seed.
            optimizer: values that tuning chose.
            changes: keys of other sections that replace the contender's, such as tuning's budget.
        """
        chosen = {"optimizer": optimizer or {}, "experiment": {"seed": seed}}
        return config_from_dict(merged(self.sections, changes or {}, chosen))

    def check(self, seed: int, changes: Sections | None = None) -> None:
        """Check its `config` at all corners of its search space.

        Raises:
            UserError: a value is out of range, or the optimizer does not have a key.
        """
        for point in corners(self.search):
            config = self.config(seed, point, changes)
            check_named_keys(config.optimizer.name, self.named)


def read_contenders(tables: Mapping[str, Any], base: Sections, changes: Sections) -> list[Contender]:
    """The contenders in the order of their tables (by label), with grids expanded.

    They start from the suite's configuration `base` with its `changes`.

    Raises:
        UserError: there are none, two share a folder, or an entry is wrong.
    """
    if not tables:
        raise UserError(
            'contenders is missing; add at least one, such as [contenders.AdamW] with name = "AdamW"'
        )
    expanded = sum(map(_count, tables.values()))
    if expanded > MOST_CONTENDERS:
        raise UserError(
            f"the suite has {expanded:,} contenders, grids included; it must have at most {MOST_CONTENDERS:,}"
        )
    contenders: dict[str, Contender] = {}
    for label, table in tables.items():
        for contender in _expanded(label, read_table(f"contenders.{label}", table), base, changes):
            require_line("a contender's name", contender.name)
            if not contender.slug:
                raise UserError(f"contender {label!r} is also a folder's name; it needs a letter or digit")
            if contender.slug in contenders:
                other = contenders[contender.slug].name
                raise UserError(
                    f"contenders {other!r} and {contender.name!r} have the same folder; rename one"
                )
            contenders[contender.slug] = contender
    return list(contenders.values())


def _count(table: Any) -> int:
    """The number of contenders of a table, before its grid is expanded or checked."""
    grid = table.get("grid") if isinstance(table, dict) else None
    values = grid.values() if isinstance(grid, dict) else ()
    return math.prod(len(points) for points in values if isinstance(points, list))


def _expanded(label: str, table: Mapping[str, Any], base: Sections, changes: Sections) -> list[Contender]:
    """A contender, or one for each point of its grid."""
    where = f"contenders.{label}"
    changed = read_changes(f"{where}.set", table.get("set", {}), optimizer=False)
    grid = read_table(f"{where}.grid", table.get("grid", {}))
    search = read_table(f"{where}.search", table.get("search", {}))
    search = {key: read_parameter(f"{where}.search.{key}", value) for key, value in search.items()}
    optimizer = {key: value for key, value in table.items() if key not in ("set", "grid", "search")}
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"{where}.grid.{key} is {shown(values)}; it must be a list of values to try")
    for key in (*search, *grid):
        if (key in optimizer) + (key in grid) + (key in search) > 1:
            raise UserError(f"{where} sets {key} twice, by value, grid or search; keep one of them")
    others = [{s: t for s, t in layer.items() if s != "optimizer"} for layer in (base, changes)]
    contenders = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        name = ", ".join([label, *(f"{key} {_shown(value)}" for key, value in point.items())])
        before = _inherited(optimizer | point, base, changes)
        sections = merged(*others, changed, {"optimizer": before | optimizer | point})
        contenders.append(Contender(name, sections, search, (*optimizer, *point, *search)))
    return contenders


def _inherited(optimizer: Mapping[str, Any], base: Sections, changes: Sections) -> dict[str, Any]:
    """The optimizer's keys that a contender takes from the configuration and the suite's `set`."""
    in_suite, in_base = changes.get("optimizer", {}), base.get("optimizer", {})
    if is_third_party(optimizer) or (is_third_party(in_base | in_suite) and "name" in optimizer):
        return dict(in_suite)  # the configuration's keys are for a different optimizer
    return in_base | in_suite


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
