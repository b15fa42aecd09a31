"""Runs as the analysis sees them: what run folders, suites and imported reports have in common."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arsbench.analysis.plans import plan_of
from arsbench.characters import printable
from arsbench.errors import UserError
from arsbench.metrics import BUDGETS, METRICS, Metric, Point, history, task_name
from arsbench.report import parse, read_report
from arsbench.runs import checks
from arsbench.runs.checks import read_checked
from arsbench.runs.folder import RunFolder, as_run

__all__ = ["BUDGETS", "Point", "Run", "load"]

# The states of a finished run, with finite numbers.
WHOLE = ("finished", "imported")
# And with others: what a run reached may be held against another's, if it has diverged too.
COMPLETE = (*WHOLE, "non_finite")

# What the analysis goes by in a configuration; a report may be of anybody's.
_CONFIG = checks.record(
    {},
    {
        "optimizer": checks.record({}, {"name": checks.optional(checks.TEXT)}),
        "experiment": checks.record(
            {},
            {
                "seed": checks.optional(checks.SEED),
                "tasks": checks.optional(checks.sequence(checks.TEXT)),
            },
        ),
        "scheduler": checks.record({}, {"name": checks.TEXT}),
    },
)


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: unique among those loaded together.
        source: the folder or report that it was read from.
        contender: what it competes as: a suite's name for it, or else its optimizer's.
        seed: None where the configuration does not tell.
        task: with its label.
        state: as in `RunFolder.status`, or "waiting" (planned by a suite, not begun).
        message: what went wrong, or "".
        config: effective where known, else as given.
        environment: {} where a report does not tell.
        epochs: the records of the epochs.
        steps: the records of logged steps; [] in a report.
        evaluations: the records of evaluations within epochs; [] likewise.
        diverged_at: the step at which it diverged with finite numbers, as in `RunFolder.status`, or None.
    """

    name: str
    source: Path
    contender: str
    seed: int | None
    task: str
    state: str
    message: str
    config: dict[str, Any]
    environment: dict[str, Any]
    epochs: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    diverged_at: int | None = None

    @property
    def imported(self) -> bool:
        """Whether it was read from a report of the seed report's form that has nothing else."""
        return self.state == "imported"

    @property
    def diverged(self) -> bool:
        """Whether it is at its end and has diverged, with finite numbers or others."""
        return self.state == "non_finite" or (self.state in WHOLE and self.diverged_at is not None)

    @property
    def whole(self) -> bool:
        """Whether it is finished and has not diverged."""
        return self.state in WHOLE and not self.diverged

    @property
    def standing(self) -> str:
        """Its state in words, such as "diverged at step 812"."""
        at = "" if self.diverged_at is None else f" at step {self.diverged_at:,d}"
        if self.diverged:
            return f"diverged{at}"
        return f"{self.state}, diverged{at}" if at else self.state

    def as_dict(self) -> dict[str, Any]:
        """The run with all its records, in plain JSON types, but for NaN and the infinities."""
        return {**vars(self), "source": str(self.source)}

    def metrics(self) -> list[Metric]:
        """Those of its task that it has figures of, the deciding one first."""
        known = METRICS.get(task_name(self.task), ())
        return [metric for metric in known if any(metric.value(r) is not None for r in self.epochs)]

    def history(self, metric: Metric) -> list[Point]:
        """The metric over the run, an entry for each evaluation that has it; nothing after it diverged."""
        return history(self.before_divergence(self.epochs), metric, self.before_divergence(self.evaluations))

    def before_divergence(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of its records that were made before it diverged; all where it has not."""
        if self.diverged_at is None:
            return records
        return [record for record in records if (record.get("step") or 0) < self.diverged_at]


def load(sources: Sequence[str | Path], warn: Callable[[str], object] = warnings.warn) -> list[Run]:
    """The runs of any mixture of run folders, suite folders and reports in Markdown.

    Args:
        sources: their paths.
        warn: called with a sentence where something of a report is skipped.

    Raises:
        UserError: a source is none of these, or is damaged, or two runs are the same folder.
    """
    runs = [run for source in sources for run in _load(Path(source), warn)]
    seen: set[Path] = set()
    for run in runs:
        resolved = run.source.resolve()
        if resolved in seen:
            raise UserError(f"{run.source} is given twice; name every run once")
        seen.add(resolved)
    return _with_unique_names(runs)


def _load(source: Path, warn: Callable[[str], object]) -> list[Run]:
    if source.exists() and not source.is_dir():  # a report, or a pipe or device, which its reader refuses
        return [_from_report(source, warn)]
    plan = plan_of(source)
    if plan is not None:
        return _told([_from_plan(source, entry) for entry in plan["runs"]])
    return [_from_folder(RunFolder.open(source))]


def _from_folder(folder: RunFolder, **changes: Any) -> Run:
    config, status, epochs = folder.effective or folder.config, folder.status, folder.epochs()
    facts = {
        "name": printable(folder.path.name),
        "source": folder.path,
        **_identity(config, epochs, folder.path, printable(folder.path.name)),
        "state": status["state"],
        "message": status.get("message", ""),
        "diverged_at": status.get("diverged_at"),
        "config": config,
        "environment": folder.environment,
        "epochs": epochs,
        "steps": folder.steps(),
        "evaluations": folder.evaluations(),
    }
    return Run(**(facts | changes))


def _from_plan(suite: Path, entry: dict[str, Any]) -> Run:
    """A run of a suite: its folder where it has begun, else, or where that is damaged, what the plan says."""
    path, failure = suite / entry["folder"], suite / "failures" / f"{entry['name']}.json"
    changes: dict[str, Any] = {"name": entry["name"], "contender": printable(entry["contender"])}
    if failure.is_file():
        changes |= {"state": "failed", "message": read_checked(failure, checks.FAILURE)["message"]}
    if (path / "status.json").is_file():
        try:
            return _from_folder(RunFolder.open(path), **changes)
        except UserError as error:
            remedy = "or delete the run's folder and run the suite again"
            changes |= {"state": "failed", "message": f"{error}, {remedy}"}
    elif (path / "checkpoints").is_dir():
        changes |= {"state": "failed", "message": lost_status(path)}
    config = entry["config"]
    waiting = {
        "source": path,
        "seed": config["experiment"]["seed"],
        "task": config["experiment"]["tasks"][0],
        "state": "waiting",
        "message": "",
        "config": config,
        "environment": {},
        "epochs": [],
        "steps": [],
    }
    return Run(**(waiting | changes))


def lost_status(path: Path) -> str:
    """What is wrong with a suite's run that has checkpoints and no status."""
    return f"{path} has lost its status.json; restore it, or delete the run's folder and run the suite again"


def _told(runs: list[Run]) -> list[Run]:
    """A suite's runs, those that have not begun with what others of their contender tell in full."""
    begun = {run.contender: run.config for run in runs if run.environment}

    def config(run: Run) -> dict[str, Any]:
        own = begun[run.contender]
        return own | {"experiment": own["experiment"] | {"seed": run.seed}}

    return [
        run if run.environment or run.contender not in begun else replace(run, config=config(run))
        for run in runs
    ]


def _from_report(path: Path, warn: Callable[[str], object]) -> Run:
    report = parse(read_report(path), str(path))
    if report.skipped:
        warn(report.skipped)
    config = as_run(report.effective) or report.config
    return Run(
        name=printable(path.stem),
        source=path,
        **_identity(config, report.epochs, path, printable(path.stem)),
        state=report.state,
        message=report.message,
        diverged_at=report.diverged_at,
        config=config,
        environment=report.environment,
        epochs=report.epochs,
        steps=[],
        evaluations=report.evaluations,
    )


def _identity(
    config: dict[str, Any], epochs: list[dict[str, Any]], source: Path, name: str
) -> dict[str, Any]:
    """What a configuration makes of a run: its contender (`name` where it does not tell), seed and task."""
    checks.require(_CONFIG, config, f"the configuration of {source}")
    experiment = config.get("experiment", {})
    tasks = {record["task"] for record in epochs} or set(experiment.get("tasks") or ())
    if len(tasks) != 1:
        raise UserError(f"{source} is about {len(tasks)} tasks; a run that can be compared has one")
    return {
        "contender": printable(config.get("optimizer", {}).get("name") or name),
        "seed": experiment.get("seed"),
        "task": tasks.pop(),
    }


def _with_unique_names(runs: list[Run]) -> list[Run]:
    """Runs whose names clash get their paths for names."""
    names = [run.name for run in runs]
    return [
        Run(**(vars(run) | {"name": printable(str(run.source))})) if names.count(run.name) > 1 else run
        for run in runs
    ]
