"""The run folder: all records of a run, written while it runs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from arsbench.errors import UserError
from arsbench.files import abandoned_temporaries, atomic_write
from arsbench.runs import checks
from arsbench.runs.json_files import JsonLines, write_json
from arsbench.runs.lock import unwritable
from arsbench.runs.paths import DOCUMENTS, RECORDS, STATUS, clear, occupied, reserve
from arsbench.runs.version_0_1_0 import with_second_moment


class RunFolder:
    """The folder of one run, at `path`; made by `create` or `open`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.tokenizer_path = self.path / "tokenizer.json"
        self.traceback_path = self.path / "traceback.txt"
        self._steps = JsonLines(self.path / RECORDS[0], checks.STEPS)
        self._epochs = JsonLines(self.path / RECORDS[1], checks.EPOCHS)
        self._evaluations = JsonLines(self.path / "evaluations.jsonl", checks.EVALUATIONS)

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
        """Make the folder of a new run, with state "running" at step 0. If it fails, it leaves no file.

        A process that shares the folder with others holds its lock meanwhile (`arsbench.runs.lock`).

        Args:
            path: a directory that does not exist or is vacant (`arsbench.runs.paths.is_vacant`).
            config: as the property of this name, like the other arguments.

        Raises:
            UserError: the directory holds files, or cannot be written to.
        """
        run = cls(reserve(path))
        try:
            clear(run.path)
            # Exclusive creation decides between two processes that both saw a vacant directory.
            (run.path / RECORDS[0]).open("x").close()
        except FileExistsError as error:
            raise occupied(run.path) from error
        except OSError as error:
            raise unwritable(run.path, error) from error
        try:
            for name in RECORDS[1:]:
                run._write_text(name, "")
            run.reconfigure(config=config, effective=effective)
            run.set_environment(environment)
            write_json(run.path / "groups.json", groups)
            run.set_status("running", 0)
        except BaseException:
            with contextlib.suppress(OSError):
                clear(run.path)
            raise
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """The run folder at `path`; every document of it is checked.

        Raises:
            UserError: `path` is not a run folder (the message says what is missing), or a file is damaged.
        """
        run = cls(path)
        missing = [name for name in (*DOCUMENTS, *RECORDS) if not (run.path / name).is_file()]
        if missing:
            problem = f"is not a run folder (it has no {', '.join(missing)})"
            if not run.path.is_dir():
                problem = "is not a directory" if run.path.exists() else "does not exist"
            raise UserError(f"{run.path} {problem}; give the folder of a run, such as runs/demo")
        for name in DOCUMENTS:
            run._read(name)
        records = run.status.get("records", {})  # before they are counted: the run may finish meanwhile
        counts = run._counts()
        for name, written in records.items():
            if counts.get(name, 0) != written:
                raise UserError(
                    f"{run.path / name} is damaged: it has {counts.get(name, 0)} of the {written} records of "
                    f"the finished run; restore the file"
                )
        return run

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as written, keys in their order."""
        return self._read("config.json")

    @property
    def effective(self) -> dict[str, Any]:
        """The effective configuration; {} in an imported run."""
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
        """{"state": one of `checks.STATES`, "step": the last step taken, "message": a sentence or ""}.

        In a finished run also {"records": the number of records by file}; in a diverged run {"diverged_at":
        the first step whose loss was above twice the loss of a uniform prediction}.
        """
        return self._read(STATUS)

    def steps(self) -> list[dict[str, Any]]:
        """The records of logged steps, in order."""
        return self._steps.records()

    def epochs(self) -> list[dict[str, Any]]:
        """The records of epochs, in order."""
        return self._epochs.records()

    def evaluations(self) -> list[dict[str, Any]]:
        """The records of evaluations within epochs, in order."""
        return self._evaluations.records() if self._evaluations.path.is_file() else []

    def append_step(self, record: dict[str, Any]) -> None:
        """Add the record of a step; it survives a power cut."""
        self._steps.append(record)

    def append_epoch(self, record: dict[str, Any]) -> None:
        """Add the record of an epoch; it survives a power cut."""
        self._epochs.append(record)

    def append_evaluation(self, record: dict[str, Any]) -> None:
        """Add the record of an evaluation within an epoch; it survives a power cut.

        Args:
            record: "epoch", "step", "evaluation", and the cost of the epoch so far:
                "forward_backward_passes", "epoch_seconds" and, included in it, "evaluation_seconds".
        """
        self._evaluations.path.touch()  # few runs have the file
        self._evaluations.append(record)

    def truncate(self, step: int, *, mid_epoch: bool = False) -> None:
        """Drop every record that was written after a checkpoint, before the run is resumed from it.

        Args:
            step: the checkpoint's step.
            mid_epoch: whether the checkpoint was taken before its epoch's evaluation. The record of an epoch
                that ended with `step` came later then.
        """
        self._steps.truncate(step)
        self._epochs.truncate(step - 1 if mid_epoch else step)
        if self._evaluations.path.exists():
            # An evaluation at that step came after the checkpoint, which does not include the time it took.
            self._evaluations.truncate(step - 1)

    def reconfigure(self, *, config: dict[str, Any], effective: dict[str, Any]) -> None:
        """Replace both configurations, as a run resumed for more epochs does."""
        write_json(self.path / "config.json", config)
        write_json(self.path / "effective.json", effective)

    def remove_temporaries(self) -> None:
        """Remove the temporary files that killed processes left behind; needs the folder's lock."""
        written = (*DOCUMENTS, *RECORDS, self._evaluations.path.name, self.tokenizer_path.name)
        for temporary in abandoned_temporaries(self.path, written):
            temporary.unlink(missing_ok=True)

    def set_environment(self, environment: dict[str, Any]) -> None:
        """Replace the environment, which lists an op once the run has called it."""
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
        """Replace the status; `state`, `step` and `message` are as in the property `status`.

        Args:
            diverged_at: the step at which the run diverged; None if it did not.
            from_report: whether the folder was read from a report, so that the run cannot be resumed.

        Raises:
            ValueError: `state` is not one of `checks.STATES`.
        """
        if state not in checks.STATES:
            raise ValueError(f"state must be one of {', '.join(checks.STATES)}, not {state!r}")
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
        return self._write_text("summary.md", text)

    def write_traceback(self, text: str) -> None:
        """Replace `traceback.txt`."""
        self._write_text(self.traceback_path.name, text)

    def _write_text(self, name: str, text: str) -> Path:
        with atomic_write(self.path / name) as file:
            file.write(text)
        return self.path / name

    def _counts(self) -> dict[str, int]:
        """The number of records of each file."""
        files = (self._steps, self._epochs, self._evaluations)
        return {file.path.name: file.count() for file in files if file.path.exists()}

    def _read(self, name: str) -> Any:
        kind, check = DOCUMENTS[name]
        return checks.read_checked(self.path / name, check, kind)


def as_run(effective: dict[str, Any]) -> dict[str, Any]:
    """A stored effective configuration, with the value of the key that version 0.1.0 did not have."""
    if "optimizer" not in effective:
        return effective
    return {**effective, "optimizer": with_second_moment(effective["optimizer"])}
