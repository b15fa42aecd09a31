"""What the trainer tells whoever watches; the command line draws its progress from it."""

from __future__ import annotations

from typing import Any, Protocol


class StopTraining(Exception):
    """An observer raises it to end training: the run remains as a killed process would leave it."""


class Observer(Protocol):
    """Receives the trainer's events, in the trainer's own thread."""

    def start(self, task: str, step: int, total_steps: int) -> None:
        """Training begins, or goes on after `step` steps."""

    def step(self, record: dict[str, Any]) -> None:
        """An optimizer step is done and its figures are read; on a GPU several come at once."""

    def evaluating(self, split: str) -> None:
        """Evaluation of a split begins."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch's record is complete."""

    def message(self, text: str) -> None:
        """Something that the user should know, in a sentence."""
