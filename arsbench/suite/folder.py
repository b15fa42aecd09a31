"""A suite's folder: the plan, the runs, and what failed.

suites/<name>/
  plan.json                          the suite, every run with its configuration, what tuning found
  runs/<contender>/seed-<n>/         run folders
  tuning/<contender>/journal.log     its trials, in Optuna's form; beside it their run folders
  failures/<job>.json                what ended a run or a trial before its end; gone when it is tried again
  logs/<job>.log                     what its process said
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arsbench import __version__
from arsbench.analysis.plans import PLAN_FILE
from arsbench.config import Config, config_from_dict
from arsbench.config.schema import OptimizerConfig
from arsbench.errors import UserError
from arsbench.runs import checks
from arsbench.runs.checks import read_checked
from arsbench.runs.folder import RunFolder
from arsbench.runs.json_files import write_json
from arsbench.runs.version_0_1_0 import with_second_moment
from arsbench.suite.contender import Contender
from arsbench.suite.definition import Suite, planned_suite
from arsbench.suite.entries import Sections


@dataclass(frozen=True)
class PlannedRun:
    """One run of a suite.

    Attributes:
        name: unique in the suite.
        contender: its label.
        path: its run folder, which need not exist yet.
        sections: its configuration as `config_from_dict` takes it.
        steps: optimizer steps to its end, should it not end early.
    """

    name: str
    contender: str
    path: Path
    sections: Sections
    steps: int

    @property
    def config(self) -> Config:
        """The configuration, checked."""
        return config_from_dict(self.sections)

    @property
    def is_done(self) -> bool:
        """Whether it is finished, diverged or not, and has its report."""
        return (self.path / "summary.md").is_file() and self.state in ("finished", "non_finite")

    @property
    def state(self) -> str:
        """As in `RunFolder.status`, or "waiting"."""
        return self._status["state"]

    @property
    def divergence(self) -> str:
        """ "diverged", or "diverged at step 812" where the numbers were finite; "" of a run that has not."""
        if "diverged_at" in self._status:
            return f"diverged at step {self._status['diverged_at']:,d}"
        return "diverged" if self.state == "non_finite" else ""

    @property
    def _status(self) -> dict[str, Any]:
        if not (self.path / "status.json").is_file():
            return {"state": "waiting"}
        return RunFolder(self.path).status


class SuiteFolder:
    """The folder of a suite at `path`, with a plan in it; made by `plan` or `open`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> SuiteFolder:
        """The suite at `path`.

        Raises:
            UserError: there is none, or its plan is damaged.
        """
        folder = cls(path)
        if not (folder.path / PLAN_FILE).is_file():
            raise UserError(
                f"{folder.path} is no suite's folder (it has no {PLAN_FILE}); give one, such as suites/NAME"
            )
        if not {"suite", "base", "threads", "tuning", "runs"} <= set(folder._plan):
            raise UserError(
                f"{folder.path / PLAN_FILE} is damaged: parts of it are missing; restore the file"
            )
        return folder

    @property
    def _plan(self) -> dict[str, Any]:
        return read_checked(self.path / PLAN_FILE, checks.PLAN)

    @property
    def suite(self) -> Suite:
        """The suite as it was planned, whatever has become of its file."""
        plan = self._plan
        return planned_suite(plan["suite"], plan["base"])

    @property
    def threads(self) -> int:
        """Of each run."""
        return self._plan["threads"]

    @property
    def tuning(self) -> dict[str, Any] | None:
        """What tuning found; None before it is over, or without it."""
        return self._plan["tuning"]

    @property
    def runs(self) -> list[PlannedRun]:
        """All runs in the order in which they begin: every contender's first seed, then the second, …"""
        plan = self._plan
        return [
            PlannedRun(
                entry["name"],
                entry["contender"],
                self.path / entry["folder"],
                _as_begun(entry["config"], plan),
                entry["steps"],
            )
            for entry in plan["runs"]
        ]

    def as_begun(self, sections: Sections) -> Sections:
        """A configuration of the suite as the version that began it understood it."""
        return _as_begun(sections, self._plan)

    def run(self, name: str) -> PlannedRun:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)

    def plan(
        self, suite: Suite, steps: dict[str, int], threads: int, tuning: dict[str, Any] | None = None
    ) -> None:
        """Write the plan, or write it anew with more seeds or with what tuning found.

        Args:
            suite: what to run.
            steps: those of a run to its end, by contender.
            threads: of each run, which decide the last bits of its figures, and its seconds.
            tuning: as in `tuning`; its best values go into the configurations. A contender of which it found
                none has no runs.
        """
        best = {name: found["best"] for name, found in tuning["contenders"].items()} if tuning else {}
        runs = [
            {
                "name": f"{contender.slug}-seed-{seed}",
                "contender": contender.name,
                "folder": f"runs/{contender.slug}/seed-{seed}",
                "steps": steps[contender.name],
                "config": contender.config(seed, best.get(contender.name)).given,
            }
            for seed in suite.seeds
            for contender in suite.contenders
            if best.get(contender.name, {}) is not None
        ]
        begun = self._plan if (self.path / PLAN_FILE).exists() else {"version": __version__}
        plan = {
            **({"version": begun["version"]} if "version" in begun else {}),  # 0.1.0 did not record it
            "name": suite.name,
            "task": suite.task,
            "suite": suite.given,
            "base": suite.base,
            "baseline": suite.baseline,
            "threads": threads,
            "tuning": tuning,
            "runs": runs,
        }
        write_json(self.path / PLAN_FILE, plan)

    def check_continues(self, suite: Suite, threads: int | None) -> None:
        """Refuse to resume the folder's suite as another one.

        Args:
            suite: to resume.
            threads: of each run, None for as many as before.

        Raises:
            UserError: names what differs, but for more seeds.
        """
        before = self._plan
        if threads not in (None, before["threads"]):
            raise UserError(
                f"{self.path} was begun with {before['threads']} threads a run, and {threads} would compute "
                f"other bits; leave --threads out, or choose another folder with --out"
            )
        if before["name"] != suite.name:
            raise UserError(
                f"{self.path} holds the suite {before['name']!r}; choose another folder with --out"
            )
        old, new = before["suite"], suite.given
        differing = [key for key in {**old, **new} if key != "seeds" and old.get(key) != new.get(key)]
        differing += ["the configuration"] if before["base"] != suite.base else []
        if differing:
            raise UserError(
                f"{self.path} was begun with other values of {', '.join(differing)}, and only seeds may be "
                f"added; choose another folder with --out"
            )
        lost = [str(seed) for seed in old["seeds"] if seed not in suite.seeds]
        if lost:
            raise UserError(
                f"{self.path} was begun with seeds that the suite no longer has ({', '.join(lost)}); put "
                f"them back, or choose another folder with --out"
            )

    def trials(self, contender: Contender) -> Path:
        """Where a contender's trials are."""
        return self.path / "tuning" / contender.slug

    def log(self, job: str) -> Path:
        """What the process of a job says."""
        return self.path / "logs" / f"{job}.log"

    def failure(self, job: str) -> dict[str, Any] | None:
        """The message and exit code of a job that failed, or None."""
        path = self._failure_path(job)
        return read_checked(path, checks.FAILURE) if path.is_file() else None

    def failures(self) -> dict[str, str]:
        """The messages of all jobs that failed, by their names."""
        paths = sorted((self.path / "failures").glob("*.json"))
        return {path.stem: read_checked(path, checks.FAILURE)["message"] for path in paths}

    def record_failure(self, job: str, message: str, exit_code: int) -> None:
        """Say why a job ended before its end."""
        write_json(self._failure_path(job), {"message": message, "exit_code": exit_code})

    def forget_failure(self, job: str) -> None:
        """The job is tried again."""
        self._failure_path(job).unlink(missing_ok=True)

    def _failure_path(self, job: str) -> Path:
        return self.path / "failures" / f"{job}.json"


def _as_begun(sections: Sections, plan: dict[str, Any]) -> Sections:
    if "version" in plan:
        return sections
    optimizer = {"name": OptimizerConfig.name, **sections.get("optimizer", {})}
    return {**sections, "optimizer": with_second_moment(optimizer)}
