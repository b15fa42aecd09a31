"""The events of training; the command line shows its progress from them."""

from __future__ import annotations

from typing import Any, Protocol


class StopTraining(Exception):
    """Raised by an observer to end training; the run stays as if its process had been killed."""


class Observer(Protocol):
    """Receives the trainer's events, in the trainer's thread."""

    def start(self, task: str, step: int, total_steps: int) -> None:
        """Training begins, or resumes after `step` steps."""

    def step(self, record: dict[str, Any]) -> None:
        """The figures of an optimizer step have been read; on a GPU those of several steps at once."""

    def evaluating(self, split: str) -> None:
        """Evaluation of a split begins."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch's record is complete."""

    def message(self, text: str) -> None:
        """A sentence for the user."""
