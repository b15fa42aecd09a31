"""A suite's folder: the plan, the runs, and the failures.

suites/<name>/
  plan.json                          the suite, the configuration of every run, the result of tuning
  runs/<contender>/seed-<n>/         run folders
  tuning/<contender>/journal.log     trials in Optuna's journal format; beside it their run folders
  failures/<job>.json                why a run or a trial failed; removed when it is tried again
  logs/<job>.log                     output of its process
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
from arsbench.documents import parse_json
from arsbench.errors import UserError
from arsbench.runs import checks
from arsbench.runs.checks import read_checked
from arsbench.runs.folder import RunFolder
from arsbench.runs.json_files import write_json
from arsbench.runs.version_0_1_0 import with_second_moment
from arsbench.suite.contender import Contender
from arsbench.suite.entries import Sections
from arsbench.suite.file import Suite, suite_from_dict

_TAIL_BYTES = 1 << 14


@dataclass(frozen=True)
class PlannedRun:
    """One run of a suite.

    Attributes:
        name: unique in the suite.
        contender: the contender's name.
        path: the run folder, which need not exist yet.
        sections: the configuration as `config_from_dict` takes it.
        steps: optimizer steps of the whole run, unless it ends early.
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
        """Whether the run is finished or diverged, and its report is written."""
        return (self.path / "summary.md").is_file() and self._status["state"] in ("finished", "non_finite")

    @property
    def divergence(self) -> str:
        """As the function `divergence`."""
        return divergence(self._status)

    @property
    def step(self) -> int:
        """The last recorded step, 0 without one; read from the end of the file, however long the run."""
        try:
            with (self.path / "steps.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
                *lines, _torn = file.read().split(b"\n")
            record = parse_json(lines[-1])
        except (OSError, IndexError, ValueError):
            return 0
        return record["step"] if checks.STEP(record, "") is None else 0

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
                f"{folder.path} is not a suite folder (it has no {PLAN_FILE}); give one, such as suites/NAME"
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
        """The suite as planned, whatever its file says now."""
        plan = self._plan
        tasks = [run["config"]["experiment"]["tasks"][0] for run in plan["runs"][:1]]
        return suite_from_dict(plan["suite"], plan["base"], *tasks)

    @property
    def threads(self) -> int:
        """Threads per run."""
        return self._plan["threads"]

    @property
    def tuning(self) -> dict[str, Any] | None:
        """The result of tuning; None before tuning is finished, or without tuning."""
        return self._plan["tuning"]

    @property
    def runs(self) -> list[PlannedRun]:
        """All runs in starting order: every contender's first seed, then the second, …"""
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
        """A configuration of the suite with the defaults of the version that began it."""
        return _as_begun(sections, self._plan)

    def plan(
        self, suite: Suite, steps: dict[str, int], threads: int, tuning: dict[str, Any] | None = None
    ) -> None:
        """Write the plan, or replace it after seeds are added or tuning is finished.

        Args:
            suite: what to run.
            steps: optimizer steps of a whole run, by contender.
            threads: threads per run; they decide the last bits of a run's figures, and its seconds.
            tuning: as in the property `tuning`. The best values go into the configurations; a contender
                without best values gets no runs.
        """
        results = tuning["contenders"] if tuning else {}
        best = {name: result["best"] for name, result in results.items()}
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
            "suite": suite.content,
            "base": suite.base,
            "baseline": suite.baseline,
            "threads": threads,
            "tuning": tuning,
            "runs": runs,
        }
        write_json(self.path / PLAN_FILE, plan)

    def check_continues(self, suite: Suite, threads: int | None) -> None:
        """Refuse to resume the folder's suite as a different one; `threads` is None for the folder's.

        Raises:
            UserError: names the differences; only seeds may be added.
        """
        before = self._plan
        old, new = before["suite"], suite.content
        differing = [key for key in {**old, **new} if key != "seeds" and old.get(key) != new.get(key)]
        differing += ["the configuration"] if before["base"] != suite.base else []
        removed = [str(seed) for seed in old["seeds"] if seed not in suite.seeds]
        if threads not in (None, before["threads"]):
            problem = (
                f"uses {before['threads']} threads per run, and {threads} would change the results bitwise; "
                f"leave --threads out"
            )
        elif before["name"] != suite.name:
            problem = f"holds the suite {before['name']!r}; run {suite.name!r} elsewhere"
        elif differing:
            problem = f"was begun with other values of {', '.join(differing)}; only seeds may be added"
        elif removed:
            problem = (
                f"has runs of seeds that the suite no longer lists ({', '.join(removed)}); add them again"
            )
        else:
            return
        raise UserError(f"{self.path} {problem}, or choose another folder with --out")

    def trials(self, contender: Contender) -> Path:
        """The folder of a contender's trials."""
        return self.path / "tuning" / contender.slug

    def log(self, job: str) -> Path:
        """The output of a job's process."""
        return self.path / "logs" / f"{job}.log"

    def failures(self) -> dict[str, str]:
        """The messages of all failed jobs, by the job's name."""
        paths = sorted((self.path / "failures").glob("*.json"))
        return {path.stem: read_checked(path, checks.FAILURE)["message"] for path in paths}

    def record_failure(self, job: str, message: str, exit_code: int) -> None:
        """Record why a job failed."""
        write_json(self._failure_path(job), {"message": message, "exit_code": exit_code})

    def forget_failure(self, job: str) -> None:
        """Remove the record of a job that is tried again."""
        self._failure_path(job).unlink(missing_ok=True)

    def _failure_path(self, job: str) -> Path:
        return self.path / "failures" / f"{job}.json"


def divergence(status: dict[str, Any]) -> str:
    """ "diverged", or "diverged at step 812" if the loss stayed finite; "" if the run did not diverge."""
    if "diverged_at" in status:
        return f"diverged at step {status['diverged_at']:,d}"
    return "diverged" if status["state"] == "non_finite" else ""


def _as_begun(sections: Sections, plan: dict[str, Any]) -> Sections:
    if "version" in plan:
        return sections
    optimizer = {"name": OptimizerConfig.name, **sections.get("optimizer", {})}
    return {**sections, "optimizer": with_second_moment(optimizer)}
