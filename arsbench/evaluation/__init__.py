"""Evaluation of a model on a task's splits."""

from arsbench.evaluation.evaluate import evaluate

__all__ = ["evaluate"]
