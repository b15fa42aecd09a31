"""Runs in memory, read from run folders, suites and reports."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arsbench.analysis.plans import plan_of
from arsbench.errors import UserError, printable
from arsbench.metrics import BUDGETS, METRICS, Metric, Point, history, task_name
from arsbench.report import parse, read_report
from arsbench.runs import checks
from arsbench.runs.checks import read_checked
from arsbench.runs.folder import RunFolder, as_run

__all__ = ["BUDGETS", "Point", "Run", "load"]

# The states of runs that finished, and of runs that ended: comparisons rank a diverged run last.
FINISHED = ("finished", "imported")
ENDED = (*FINISHED, "non_finite")

# The keys of a configuration that the analysis uses; a report may come from another program.
_CONFIG = checks.record(
    {},
    {
        "optimizer": checks.record({}, {"name": checks.optional(checks.TEXT)}),
        "experiment": checks.record(
            {}, {"seed": checks.optional(checks.SEED), "tasks": checks.optional(checks.sequence(checks.TEXT))}
        ),
        "scheduler": checks.record({}, {"name": checks.TEXT}),
    },
)


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: unique among the runs loaded together.
        source: the folder or report that it was read from.
        contender: the suite's name for it, or else its optimizer's.
        seed: None where the configuration has none.
        task: with its label.
        state: as in `RunFolder.status`, or "imported" (from a report) or "waiting" (planned, not started).
        message: the error of a failed run, or "".
        config: the effective configuration, or as written where there is none.
        environment: {} where a report has none.
        epochs: the records of the epochs.
        steps: the records of logged steps; [] for a report.
        evaluations: the records of evaluations within epochs; [] for a report.
        diverged_at: the step at which it diverged with finite numbers, as in `RunFolder.status`, or None.
    """

    name: str
    source: Path
    contender: str
    seed: int | None
    task: str
    state: str
    message: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    diverged_at: int | None = None

    @property
    def imported(self) -> bool:
        """Whether it was read from a report with the reference format's sections only."""
        return self.state == "imported"

    @property
    def diverged(self) -> bool:
        """Whether it ended and diverged, with finite numbers or others."""
        return self.state == "non_finite" or (self.state in FINISHED and self.diverged_at is not None)

    @property
    def whole(self) -> bool:
        """Whether it finished and did not diverge."""
        return self.state in FINISHED and not self.diverged

    @property
    def standing(self) -> str:
        """Its state as text, such as "diverged at step 812"."""
        at = "" if self.diverged_at is None else f" at step {self.diverged_at:,d}"
        if self.diverged:
            return f"diverged{at}"
        return f"{self.state}, diverged{at}" if at else self.state

    def as_dict(self) -> dict[str, Any]:
        """The run with all its records, in JSON types, except NaN and the infinities."""
        return {**vars(self), "source": str(self.source)}

    def metrics(self) -> list[Metric]:
        """The metrics of its task for which it has values, the deciding metric first."""
        metrics = METRICS.get(task_name(self.task), ())
        return [metric for metric in metrics if any(metric.value(r) is not None for r in self.epochs)]

    def history(self, metric: Metric) -> list[Point]:
        """The metric at each evaluation that has it, up to where the run diverged."""
        return history(self.before_divergence(self.epochs), metric, self.before_divergence(self.evaluations))

    def before_divergence(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records from before it diverged; all records where it did not."""
        if self.diverged_at is None:
            return records
        return [record for record in records if (record.get("step") or 0) < self.diverged_at]


def load(sources: Sequence[str | Path], warn: Callable[[str], object] = warnings.warn) -> list[Run]:
    """The runs of run folders, suite folders and Markdown reports, in any mixture.

    Runs whose names are not unique are named after their paths.

    Args:
        sources: their paths.
        warn: called with a sentence where something of a report is skipped.

    Raises:
        UserError: a source is none of these, or is damaged, or a run is named twice.
    """
    runs = [run for source in sources for run in _load(Path(source), warn)]
    seen: set[Path] = set()
    for run in runs:
        resolved = run.source.resolve()
        if resolved in seen:
            raise UserError(f"{run.source} is named twice; name every run once")
        seen.add(resolved)
    names = Counter(run.name for run in runs)
    return [replace(run, name=printable(str(run.source))) if names[run.name] > 1 else run for run in runs]


def _load(source: Path, warn: Callable[[str], object]) -> list[Run]:
    if source.exists() and not source.is_dir():  # a report; its reader refuses pipes and devices
        return [_from_report(source, warn)]
    plan = plan_of(source)
    if plan is not None:
        return _with_effective_configs([_from_plan(source, entry) for entry in plan["runs"]])
    return [_from_folder(RunFolder.open(source))]


def _from_folder(folder: RunFolder, **changes: Any) -> Run:
    config, status = folder.effective or folder.config, folder.status
    facts = {
        **_facts(folder.path, folder.path.name, config, folder.epochs()),
        "state": status["state"],
        "message": status.get("message", ""),
        "diverged_at": status.get("diverged_at"),
        "environment": folder.environment,
        "steps": folder.steps(),
        "evaluations": folder.evaluations(),
    }
    return Run(**(facts | changes))


def _from_plan(suite: Path, entry: dict[str, Any]) -> Run:
    """A suite's run from its folder; from the plan where it has not started or its folder is damaged."""
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
    seed, (task, *_) = config["experiment"]["seed"], config["experiment"]["tasks"]
    return Run(
        **({"source": path, "seed": seed, "task": task, "state": "waiting", "config": config} | changes)
    )


def lost_status(path: Path) -> str:
    """The message for a suite's run that has checkpoints but no status."""
    return f"{path} has lost its status.json; restore it, or delete the run's folder and run the suite again"


def _with_effective_configs(runs: list[Run]) -> list[Run]:
    """A suite's runs; those that have not started get the configuration of another run of their contender."""
    started = {run.contender: run.config for run in runs if run.environment}

    def complete(run: Run) -> Run:
        if run.environment or run.contender not in started:
            return run
        config = started[run.contender]
        return replace(run, config=config | {"experiment": config["experiment"] | {"seed": run.seed}})

    return [complete(run) for run in runs]


def _from_report(path: Path, warn: Callable[[str], object]) -> Run:
    report = parse(read_report(path), str(path))
    if report.skipped:
        warn(report.skipped)
    return Run(
        **_facts(path, path.stem, as_run(report.effective) or report.config, report.epochs),
        state=report.state,
        message=report.message,
        diverged_at=report.diverged_at,
        environment=report.environment,
        evaluations=report.evaluations,
    )


def _facts(source: Path, name: str, config: dict[str, Any], epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """What folders and reports share; the contender is `name` where the configuration has no optimizer."""
    checks.require(_CONFIG, config, f"the configuration of {source}")
    experiment = config.get("experiment", {})
    tasks = {record["task"] for record in epochs} or set(experiment.get("tasks") or ())
    if len(tasks) != 1:
        raise UserError(f"{source} has {len(tasks)} tasks; only runs with one task can be compared")
    return {
        "name": printable(name),
        "source": source,
        "contender": printable(config.get("optimizer", {}).get("name") or name),
        "seed": experiment.get("seed"),
        "task": tasks.pop(),
        "config": config,
        "epochs": epochs,
    }
