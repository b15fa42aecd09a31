"""Phrases that warnings and verdicts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from arsbench.analysis.contenders import by_contender
from arsbench.analysis.runs import Run


def by_value(runs: Sequence[Run], value: Callable[[Run], Any]) -> list[tuple[Any, list[Run]]]:
    """Each value with its runs, in the order in which values first appear; values need not be hashable."""
    groups: list[tuple[Any, list[Run]]] = []
    for run in runs:
        key = value(run)
        members = next((members for other, members in groups if other == key), None)
        if members is None:
            groups.append((key, [run]))
        else:
            members.append(run)
    return groups


def named(groups: Iterable[tuple[Any, list[Run]]], runs: Sequence[Run]) -> str:
    """ "8: AdamW and Muon; 16: ARS-2": each group of `by_value`, by contender where it has all its runs."""
    contenders = by_contender(runs)
    parts = []
    for value, members in groups:
        inside = {run.name for run in members}
        complete = {name for name, seeds in contenders.items() if all(run.name in inside for run in seeds)}
        names = dict.fromkeys(run.contender if run.contender in complete else run.name for run in members)
        parts.append(f"{'none' if value is None else value}: {listed(list(names))}")
    return "; ".join(parts)


def sectioned(keys: Iterable[str]) -> str:
    """ "model.head_dim, model.type, data.path" as "model (head_dim, type), data (path)"."""
    sections: dict[str, list[str]] = {}
    for key in keys:
        section, _, name = key.partition(".")
        sections.setdefault(section, []).append(name)
    return ", ".join(f"{section} ({', '.join(names)})" for section, names in sections.items())


def listed(names: Sequence[str], most: int = 6) -> str:
    """ "A, B and C"; of more than `most` names, the first ones and the number of the others."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def in_digits(value: float, spec: str) -> str:
    """A number by the format `spec` of fixed digits; in scientific notation from 1e15 on."""
    return format(value, spec if abs(value) < 1e15 else spec.replace("f", "e"))


def without_repetition(values: Iterable[Any]) -> list[Any]:
    """The values, each at its first place; they need not be hashable."""
    result: list[Any] = []
    for value in values:
        if value not in result:
            result.append(value)
    return result
