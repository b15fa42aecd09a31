"""Which runs form a contender, which suite they belong to, and how they were tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from arsbench.analysis.plans import find_plan
from arsbench.analysis.runs import Run
from arsbench.analysis.wording import by_value
from arsbench.errors import UserError, nearest, printable

# The seed, and keys that change what is recorded, when, or how fast, but not what is computed.
WITHOUT_EFFECT = frozenset(
    {
        "experiment.seed",
        "data.num_workers",
        "train.log_every",
        "train.eval_every_steps",
        "train.ckpt_every",
        "train.ckpt_every_steps",
        "train.keep_checkpoints",
    }
)


def distinct(runs: Sequence[Run]) -> list[Run]:
    """The same runs in the same order, with one contender name for each configuration.

    `load` calls every run of ARS "ARS". Runs with different configurations, or with the same seed, become
    "ARS (first)" and "ARS (second)" here, after the names of their suites or runs.
    """
    # A suite defines its contenders: its runs that have not started lack the effective configuration.
    identities = {run.name: suite_of(run) or _settings(run) for run in runs}
    clusters: dict[str, list[list[Run]]] = {}
    for run in runs:
        alternatives = clusters.setdefault(run.contender, [])
        for members in alternatives:
            same = identities[members[0].name] == identities[run.name]
            if same and all(run.seed != member.seed for member in members):
                members.append(run)
                break
        else:
            alternatives.append([run])
    renamed = {
        run.name: replace(run, contender=f"{contender} ({label})")
        for contender, alternatives in clusters.items()
        if len(alternatives) > 1
        for members, label in zip(alternatives, _labels(alternatives), strict=True)
        for run in members
    }
    return [renamed.get(run.name, run) for run in runs]


def by_contender(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by contender, in the order in which contenders first appear."""
    return dict(by_value(runs, lambda run: run.contender))


def choose_baseline(runs: Sequence[Run], name: str | None = None) -> str:
    """The contender called `name`, or the one whose run has this name or path; by default the first.

    Raises:
        UserError: there is none.
    """
    contenders = by_contender(runs)
    if name is None or name in contenders:
        return name or runs[0].contender
    for run in runs:
        if name in (run.name, str(run.source)):
            return run.contender
    raise UserError(f"no contender is called {name!r}{nearest(name, contenders)}")


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration's keys as "section.key"."""
    return {
        f"{section}.{key}": value
        for section, table in config.items()
        if isinstance(table, dict)
        for key, value in table.items()
    }


def suite_of(run: Run) -> Path | None:
    """The folder of the run's suite; None where it belongs to none."""
    parents = list(run.source.resolve().parents)[:3]
    return next((parent for parent in parents if find_plan(parent) is not None), None)


def tuning(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """What a suite's tuning spent on each tuned contender, and its result.

    Returns:
        by contender: the numbers `trials`, `pruned` and `non_finite` (diverged); `steps`, `passes`,
        `seconds`; `best` (settings) and `value`, both None where every trial diverged.
    """
    result: dict[str, dict[str, Any]] = {}
    for suite, plan in _plans(runs).items():
        names = {planned: contender for contender, planned in _planned_names(suite, plan, runs).items()}
        for planned, tuned in ((plan.get("tuning") or {}).get("contenders", {})).items():
            result[names.get(planned, printable(planned))] = tuned
    return result


def suite_baseline(runs: Sequence[Run]) -> str | None:
    """The baseline of the first run's suite; None where it belongs to none or the suite names none."""
    for suite, plan in _plans(runs[:1]).items():
        names = _planned_names(suite, plan, runs).items()
        return next((contender for contender, planned in names if planned == plan.get("baseline")), None)
    return None


def _planned_names(suite: Path, plan: dict[str, Any], runs: Sequence[Run]) -> dict[str, str]:
    """By contender, the name in the suite's plan, which `distinct` may have changed."""
    names = {(suite / entry["folder"]).resolve(): entry["contender"] for entry in plan["runs"]}
    sources = ((run.contender, run.source.resolve()) for run in runs)
    return {contender: names[source] for contender, source in sources if source in names}


def _plans(runs: Sequence[Run]) -> dict[Path, dict[str, Any]]:
    """The plans of the runs' suites, by the suites' folders."""
    folders = dict.fromkeys(suite for run in runs if (suite := suite_of(run)) is not None)
    return {folder: plan for folder in folders if (plan := find_plan(folder)) is not None}


def _settings(run: Run) -> dict[str, Any]:
    return {key: value for key, value in flat(run.config).items() if key not in WITHOUT_EFFECT}


def _labels(alternatives: Sequence[Sequence[Run]]) -> list[str]:
    """A unique name for each group of runs: its suite's, or else its first run's."""
    firsts = [members[0] for members in alternatives]
    labels = [printable(suite.name) if (suite := suite_of(first)) else first.name for first in firsts]
    return [
        label if labels.count(label) == 1 else first.name for label, first in zip(labels, firsts, strict=True)
    ]
