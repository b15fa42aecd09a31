"""How warnings speak of runs and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from arsbench.analysis.contenders import by_contender
from arsbench.analysis.runs import Run


def by_value(runs: Sequence[Run], value: Callable[[Run], Any]) -> list[tuple[Any, list[Run]]]:
    """Each value with the runs that have it, in the order in which values first appear."""
    groups: list[tuple[Any, list[Run]]] = []
    for run in runs:
        own = value(run)
        members = next((members for other, members in groups if other == own), None)
        if members is None:
            groups.append((own, [run]))
        else:
            members.append(run)
    return groups


def told(groups: Iterable[tuple[Any, list[Run]]], runs: Sequence[Run]) -> str:
    """ "8: AdamW, Muon; 16: ARS": the groups of `by_value`, or contenders where their runs agree."""
    contenders = by_contender(runs)
    parts = []
    for value, members in groups:
        inside = {run.name for run in members}
        whole = {name for name, own in contenders.items() if all(run.name in inside for run in own)}
        names = dict.fromkeys(run.contender if run.contender in whole else run.name for run in members)
        parts.append(f"{'none' if value is None else value}: {listed(list(names))}")
    return "; ".join(parts)


def sectioned(keys: Iterable[str]) -> str:
    """ "model.head_dim, model.type, data.path" as "model (head_dim, type), data (path)"."""
    sections: dict[str, list[str]] = {}
    for key in keys:
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(name)
    return ", ".join(f"{section} ({', '.join(names)})" for section, names in sections.items())


def listed(names: Sequence[str]) -> str:
    """The names, or the first few of many."""
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:5])} and {len(names) - 5} more"


def in_digits(value: float, spec: str) -> str:
    """A number by the specification `spec` of fixed digits; in scientific notation where it has too many."""
    return format(value, spec if abs(value) < 1e15 else spec.replace("f", "e"))


def without_repetition(values: Iterable[Any]) -> list[Any]:
    """Without repetition; the values need not be hashable."""
    result: list[Any] = []
    for value in values:
        if value not in result:
            result.append(value)
    return result
