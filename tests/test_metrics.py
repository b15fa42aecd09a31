"""The one table of metrics: what decides a comparison, and what the reference report format shows."""

import math

import pytest

from arsbench.metrics import METRICS, TASK_METRICS, Metric, history, value_at
from arsbench.report.columns import metric_columns


def test_comparisons_and_reports_go_by_different_losses_of_one_table():
    language, addition = TASK_METRICS["wikitext2_line"], TASK_METRICS["mod_addition"]
    assert {"wikitext2_line": language.compared, "mod_addition": addition.compared} == METRICS
    assert [task.compared[0].path[-2:] for task in (language, addition)] == [
        ("strict", "loss"),
        ("all", "accuracy"),
    ]
    assert [task.named(task.report_best).path[-2:] for task in (language, addition)] == [
        ("seed", "loss"),
        ("all", "accuracy"),
    ]
    assert [[column.header for column in metric_columns(task)] for task in (language, addition)] == [
        ["Eval Loss", "Eval Perplexity"],
        ["Eval Loss", "Eval Accuracy"],
    ]


def test_the_training_loss_per_real_target_follows_the_training_loss():
    names = [metric.name for metric in METRICS["wikitext2_line"]]
    assert names[-2:] == ["train_loss", "train_loss_strict"]
    strict = METRICS["wikitext2_line"][-1]
    records = [{"epoch": 1, "train_loss": 2.0}, {"epoch": 2, "train_loss": 1.5, "train_loss_strict": 1.75}]
    assert [(point.epoch, point.value) for point in history(records, strict)] == [(2, 1.75)]


@pytest.mark.parametrize("record", [{}, {"a": None}, {"a": 3}, {"a": {"c": 1}}])
def test_a_missing_value_is_none(record):
    assert value_at(record, ("a", "b")) is None
    assert Metric("b", "b", ("a", "b")).value(record) is None


def test_nan_is_worse_than_every_number():
    loss, accuracy = METRICS["mod_addition"][1], METRICS["mod_addition"][0]
    for metric in (loss, accuracy):
        assert metric.better(0.5, math.nan)
        assert not metric.better(math.nan, 0.5)
    assert loss.better(0.25, 0.5)
    assert accuracy.better(0.5, 0.25)
