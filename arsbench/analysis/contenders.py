"""Which runs are one contender, which suite they belong to, and how they were tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arsbench.analysis.plans import find_plan
from arsbench.analysis.runs import Run
from arsbench.characters import printable

# Keys that change what is written down and when, or how fast, but not what is computed; and the seed.
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


@dataclass
class _Cluster:
    """Runs that are one contender's: the same configuration, each with a seed of its own."""

    suite: Path | None
    config: dict[str, Any]
    runs: list[Run] = field(default_factory=list)

    def takes(self, run: Run, suite: Path | None) -> bool:
        if any(run.seed == other.seed for other in self.runs):
            return False
        # A suite has said what is one contender; of its runs that have not begun less is known.
        return suite == self.suite and (suite is not None or _effective(run) == self.config)


def distinct(runs: Sequence[Run]) -> list[Run]:
    """The same runs in their order, those that are not seeds of one configuration as contenders of their own.

    Two runs of ARS with different learning rates, or of one seed in two reports, both come as "ARS" from
    `load`; here they become "ARS (first)" and "ARS (second)", after their suites' or their own names.
    """
    clusters: dict[str, list[_Cluster]] = {}
    for run in runs:
        suite = suite_of(run)
        known = clusters.setdefault(run.contender, [])
        for cluster in known:
            if cluster.takes(run, suite):
                cluster.runs.append(run)
                break
        else:
            known.append(_Cluster(suite, _effective(run), [run]))
    renamed = {
        run.name: replace(run, contender=f"{contender} ({label})")
        for contender, known in clusters.items()
        if len(known) > 1
        for cluster, label in zip(known, _labels(known), strict=True)
        for run in cluster.runs
    }
    return [renamed.get(run.name, run) for run in runs]


def by_contender(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by contender, contenders in the order in which they first appear."""
    contenders: dict[str, list[Run]] = {}
    for run in runs:
        contenders.setdefault(run.contender, []).append(run)
    return contenders


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration's keys as "section.key"."""
    return {
        f"{section}.{key}": value
        for section, table in config.items()
        if isinstance(table, dict)
        for key, value in table.items()
    }


def suite_of(run: Run) -> Path | None:
    """The folder of the suite that the run is part of, if any."""
    for parent in list(run.source.resolve().parents)[:3]:
        if find_plan(parent) is not None:
            return parent
    return None


def tuning(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """What a suite's tuning spent on each contender and found; only contenders that were tuned.

    Returns:
        by contender: `trials`, of these `pruned`, of these `non_finite`; `steps`, `passes`, `seconds`; `best`
        (settings) and `value`, both None where no trial ended with finite figures, and no run followed.
    """
    result: dict[str, dict[str, Any]] = {}
    for suite, plan in _plans(runs).items():
        called = {planned: contender for contender, planned in _planned(suite, plan, runs).items()}
        for planned, found in ((plan.get("tuning") or {}).get("contenders", {})).items():
            result[called.get(planned, printable(planned))] = found
    return result


def suite_baseline(runs: Sequence[Run]) -> str | None:
    """The contender that the first run's suite compares with, if that is part of a suite and names one."""
    for suite, plan in _plans(runs[:1]).items():
        planned = _planned(suite, plan, runs)
        return next((name for name, own in planned.items() if own == plan.get("baseline")), None)
    return None


def _planned(suite: Path, plan: dict[str, Any], runs: Sequence[Run]) -> dict[str, str]:
    """What the suite's plan calls the contenders of its runs, whatever `distinct` has made of them."""
    names = {(suite / entry["folder"]).resolve(): entry["contender"] for entry in plan["runs"]}
    sources = ((run.contender, run.source.resolve()) for run in runs)
    return {contender: names[source] for contender, source in sources if source in names}


def _plans(runs: Sequence[Run]) -> dict[Path, dict[str, Any]]:
    """The plans of the suites that the runs are part of, by the suites' folders."""
    folders = dict.fromkeys(suite for run in runs if (suite := suite_of(run)) is not None)
    return {folder: plan for folder in folders if (plan := find_plan(folder)) is not None}


def _effective(run: Run) -> dict[str, Any]:
    return {key: value for key, value in flat(run.config).items() if key not in WITHOUT_EFFECT}


def _labels(clusters: Sequence[_Cluster]) -> list[str]:
    """A name for each that no other has: its suite's, its first run's, or its path."""
    labels = [
        printable(cluster.suite.name) if cluster.suite else cluster.runs[0].name for cluster in clusters
    ]
    return [
        label if labels.count(label) == 1 else cluster.runs[0].name
        for label, cluster in zip(labels, clusters, strict=True)
    ]
