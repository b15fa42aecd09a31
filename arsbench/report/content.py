"""What a report holds, whether it is written from a run folder or read from Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from arsbench.runs.folder import RunFolder

Record = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """A run without its logged steps and its weights.

    The defaults are those of a report that has the sections of the reference format alone.

    Attributes:
        config: the configuration as written.
        epochs: the epochs' records.
        evaluations: the records of the evaluations within epochs.
        state: as in `RunFolder.status`, like `step`, `message` and `diverged_at`.
        effective: as in `RunFolder`, like `environment` and `groups`.
        skipped: a sentence on what was not read; "" where everything was.
    """

    config: dict[str, Any]
    epochs: list[Record]
    evaluations: list[Record] = field(default_factory=list)
    state: str = "imported"
    step: int = 0
    message: str = ""
    diverged_at: int | None = None
    effective: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    groups: list[dict[str, Any]] = field(default_factory=list)
    skipped: str = ""

    @classmethod
    def of(cls, run: RunFolder) -> Report:
        """The report of a run folder."""
        status = run.status
        return cls(
            config=run.config,
            epochs=run.epochs(),
            evaluations=run.evaluations(),
            state=status["state"],
            step=status["step"],
            message=status.get("message", ""),
            diverged_at=status.get("diverged_at"),
            effective=run.effective,
            environment=run.environment,
            groups=run.groups,
        )

    @property
    def imported(self) -> bool:
        """Whether the run is known from the sections of the reference format alone."""
        return self.state == "imported"

    @property
    def task(self) -> str:
        """The run's task with its label; "" where neither records nor configuration name it."""
        if self.epochs:
            return self.epochs[0]["task"]
        experiment = self.config.get("experiment")
        tasks = experiment.get("tasks") if isinstance(experiment, dict) else None
        return str(tasks[0]) if isinstance(tasks, list) and tasks else ""
