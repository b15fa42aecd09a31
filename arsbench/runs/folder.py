"""The run folder: everything that is known about a run, written as the run goes.

    runs/<name>/
      config.json        the configuration as it was given
      effective.json     the configuration as it was run: every default, only its optimizer's keys
      environment.json   versions, processor, backend of each op that was called, commit
      groups.json        the optimizer's parameter groups
      status.json        {"state": …, "step": …, "message": …}, of a finished run also {"records": …},
                         of one that has diverged {"diverged_at": …}, and of one that was read back
                         from a report {"from_report": true}
      steps.jsonl        one record per logged step
      epochs.jsonl       one record per epoch and task
      evaluations.jsonl  one record per evaluation within an epoch
      checkpoints/       written by the trainer
      tokenizer.json     written by the trainer
      summary.md         the report
      traceback.txt      of the exception that last ended the run
      .lock              held by the process that writes the run (arsbench/runs/lock.py)

Documents are replaced atomically and lines appended one by one: a crash loses nothing already measured.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from arsbench.runs import checks
from arsbench.errors import UserError
from arsbench.files import abandoned_temporaries, atomic_write
from arsbench.runs.json_files import JsonLines, read_json, write_json
from arsbench.runs.paths import DOCUMENTS, RECORDS, STATUS, clear, occupied, reserve, unwritable
from arsbench.second_moment import with_second_moment

# "imported": read back from a report written elsewhere; only what that report told is known.
STATES = ("running", "finished", "interrupted", "non_finite", "failed", "imported")

_STATUS = checks.record(
    {"state": checks.one_of(STATES), "step": checks.WHOLE},
    {
        "message": checks.TEXT,
        "records": checks.table(checks.WHOLE),
        "diverged_at": checks.WHOLE,
        "from_report": checks.TRUTH,
    },
)
_DOCUMENTS: dict[str, tuple[type, checks.Check]] = {
    "config.json": (dict, checks.ANYTHING),  # a report that was read back may be of anybody's
    "effective.json": (dict, checks.TABLES),
    "environment.json": (dict, checks.ENVIRONMENT),
    "groups.json": (list, checks.GROUPS),
    STATUS: (dict, _STATUS),
}
_EVALUATIONS = "evaluations.jsonl"


class RunFolder:
    """One run's folder, at `path`; made by `create` or `open`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.tokenizer_path = self.path / "tokenizer.json"
        self.traceback_path = self.path / "traceback.txt"
        self._steps = JsonLines(self.path / RECORDS[0], checks.STEPS)
        self._epochs = JsonLines(self.path / RECORDS[1], checks.EPOCHS)
        self._evaluations = JsonLines(self.path / _EVALUATIONS, checks.EVALUATIONS)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        config: dict[str, Any],
        effective: dict[str, Any],
        environment: dict[str, Any],
        groups: list[dict[str, Any]],
    ) -> RunFolder:
        """Make the folder of a run that starts now, with state "running" at step 0: whole or not at all.

        A process that may not be alone holds the folder's lock (`arsbench.runs.lock`).

        Args:
            path: a directory that does not exist yet or is vacant (`run_paths.is_vacant`).

        Raises:
            UserError: the directory holds files already, or cannot be written to.
        """
        run = cls(reserve(path))
        try:
            clear(run.path)
            # Exclusive creation decides between two processes that both found the directory vacant.
            (run.path / RECORDS[0]).open("x").close()
        except FileExistsError as error:
            raise UserError(occupied(run.path)) from error
        except OSError as error:
            raise UserError(unwritable(run.path, error)) from error
        try:
            for name in RECORDS[1:]:
                with atomic_write(run.path / name):
                    pass
            run.reconfigure(config=config, effective=effective)
            write_json(run.path / "environment.json", environment)
            write_json(run.path / "groups.json", groups)
            run.set_status("running", 0)
        except BaseException:
            with contextlib.suppress(OSError):
                clear(run.path)
            raise
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """The run folder at `path`, every document of it checked.

        Raises:
            UserError: `path` is no run folder (the message says what is missing), or a file is damaged.
        """
        run = cls(path)
        if not run.path.is_dir():
            problem = "is not a directory" if run.path.exists() else "does not exist"
            raise UserError(f"{run.path} {problem}; give the folder of a run, such as runs/demo")
        missing = [name for name in (*DOCUMENTS, *RECORDS) if not (run.path / name).is_file()]
        if missing:
            raise UserError(
                f"{run.path} is not a run folder (it has no {', '.join(missing)}); "
                f"give the folder of a run, such as runs/demo"
            )
        for name in DOCUMENTS:
            run._read(name)
        run._check_records()
        return run

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was given, keys in their order."""
        return self._read("config.json")

    @property
    def effective(self) -> dict[str, Any]:
        """The configuration as it was run; {} in an imported run."""
        return as_run(self._read("effective.json"))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, machine and backends; {} in an imported run."""
        return self._read("environment.json")

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups: name, tensors, parameters, hyperparameters; [] in an imported run."""
        return self._read("groups.json")

    @property
    def status(self) -> dict[str, Any]:
        """{"state": one of `STATES`, "step": the last step taken, "message": a sentence or ""}.

        Of a finished run also {"records": the number of records by file}, and of one that has diverged
        {"diverged_at": the first step whose loss was above twice the uniform prediction's}.
        """
        return self._read(STATUS)

    @property
    def imported(self) -> bool:
        """Whether this folder was read back from a report rather than written by a run."""
        return self.status["state"] == "imported"

    def steps(self) -> list[dict[str, Any]]:
        """The records of `append_step`, in order."""
        return self._steps.records()

    def epochs(self) -> list[dict[str, Any]]:
        """The records of `append_epoch`, in order."""
        return self._epochs.records()

    def evaluations(self) -> list[dict[str, Any]]:
        """The records of `append_evaluation`, in order."""
        return self._evaluations.records() if self._evaluations.path.is_file() else []

    def append_step(self, record: dict[str, Any]) -> None:
        """Add a step's record; it survives a power cut."""
        self._steps.append(record)

    def append_epoch(self, record: dict[str, Any]) -> None:
        """Add an epoch's record; it survives a power cut."""
        self._epochs.append(record)

    def append_evaluation(self, record: dict[str, Any]) -> None:
        """Add the record of an evaluation within an epoch; it survives a power cut.

        Args:
            record: "epoch", "step", "evaluation", and what the epoch had spent by then: its
                "forward_backward_passes", its "epoch_seconds" and of these the "evaluation_seconds".
        """
        self._evaluations.path.touch()  # few runs have the file
        self._evaluations.append(record)

    def truncate(self, step: int, *, mid_epoch: bool = False) -> None:
        """Drop every record written after a checkpoint, as a run resumed from it must.

        Args:
            step: the checkpoint's.
            mid_epoch: the checkpoint was taken before its epoch's evaluation, though perhaps after its last
                step: a record of the epoch that ended with `step` came later.
        """
        self._steps.truncate(step)
        self._epochs.truncate(step - 1 if mid_epoch else step)
        if self._evaluations.path.exists():
            # An evaluation of that very step came after the checkpoint, which does not know the time it took.
            self._evaluations.truncate(step - 1)

    def reconfigure(self, *, config: dict[str, Any], effective: dict[str, Any]) -> None:
        """Replace both configurations, as a run resumed for more epochs does."""
        write_json(self.path / "config.json", config)
        write_json(self.path / "effective.json", effective)

    def remove_temporaries(self) -> None:
        """Remove what killed processes have left of files that they were writing; needs the folder's lock."""
        written = (*DOCUMENTS, *RECORDS, _EVALUATIONS, self.tokenizer_path.name)
        for temporary in abandoned_temporaries(self.path, written):
            temporary.unlink(missing_ok=True)

    def set_environment(self, environment: dict[str, Any]) -> None:
        """Replace what the run runs on; the ops that it calls are known only after some steps."""
        write_json(self.path / "environment.json", environment)

    def set_status(
        self,
        state: str,
        step: int,
        message: str = "",
        *,
        diverged_at: int | None = None,
        from_report: bool = False,
    ) -> None:
        """Replace the status.

        Args:
            state: one of `STATES`.
            step: the last step taken.
            message: a sentence, or "".
            diverged_at: the step at which the run diverged; None if it has not.
            from_report: whether all of it was read from a report, so that nothing can compute it again.

        Raises:
            ValueError: `state` is not one of `STATES`.
        """
        if state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, not {state!r}")
        status: dict[str, Any] = {"state": state, "step": step, "message": message}
        if state == "finished":
            status["records"] = self._counts()
        if diverged_at is not None:
            status["diverged_at"] = diverged_at
        if from_report:
            status["from_report"] = True
        write_json(self.path / STATUS, status)

    def write_summary(self, text: str) -> Path:
        """Replace `summary.md` and return its path."""
        path = self.path / "summary.md"
        with atomic_write(path) as file:
            file.write(text)
        return path

    def write_traceback(self, text: str) -> None:
        """Replace `traceback.txt`.

        Raises:
            UserError: it cannot be written.
        """
        with atomic_write(self.traceback_path) as file:
            file.write(text)

    def _counts(self) -> dict[str, int]:
        """How many records each file has."""
        files = (self._steps, self._epochs, self._evaluations)
        return {file.path.name: file.count() for file in files if file.path.exists()}

    def _check_records(self) -> None:
        """Of a finished run none may be missing: its figures would be others."""
        records = self.status.get("records", {})  # before they are counted: the run may be about to finish
        found = self._counts()
        for name, written in records.items():
            if found.get(name, 0) != written:
                raise UserError(
                    f"{self.path / name} is damaged: it has {found.get(name, 0)} of the {written} records of "
                    f"the finished run; restore the file"
                )

    def _read(self, name: str) -> Any:
        kind, check = _DOCUMENTS[name]
        content = read_json(self.path / name, kind)
        checks.require(check, content, self.path / name)
        return content


def as_run(effective: dict[str, Any]) -> dict[str, Any]:
    """A stored effective configuration with what version 0.1.0 left out, having no other choice."""
    if "optimizer" not in effective:
        return effective
    return {**effective, "optimizer": with_second_moment(effective["optimizer"])}
