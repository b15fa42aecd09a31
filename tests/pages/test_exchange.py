"""Runs as CSV and as TensorBoard's event files, read back by the standard library and by TensorBoard."""

import csv
import math
import sys
from pathlib import Path

import pytest

from arsbench.analysis import load
from arsbench.errors import UserError
from arsbench.pages.exchange import write_csv, write_tensorboard
from arsbench.runs.folder import RunFolder

SEED_REPORT = Path(__file__).parents[1] / "report" / "seed_report.md"


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_per_epoch_and_one_per_step(record_run, tmp_path):
    runs = load([record_run("a"), record_run("b", losses=(math.nan,), seed=2, diverged_at=77)])
    epochs, steps = write_csv(runs, tmp_path / "out" / "all.csv")
    assert (epochs.name, steps.name) == ("all.csv", "all.steps.csv")
    first, second, third = rows_of(epochs)
    assert (first["run"], first["contender"], first["seed"], first["epoch"]) == ("a", "ARS", "1", "1")
    assert second["evaluation.validation.strict.loss"] == "4.0"
    assert (second["step"], second["total_passes"], second["total_seconds"]) == ("200", "240", "60.0")
    assert (third["run"], third["total_passes"]) == ("b", "120")
    assert math.isnan(float(third["train_loss"]))
    assert second["peak_gpu_mib"] == ""
    assert [(row["state"], row["diverged_at"]) for row in (first, third)] == [
        ("finished", ""),
        ("finished", "77"),
    ]
    assert [(row["run"], row["step"], row["loss"]) for row in rows_of(steps)][:2] == [
        ("a", "50", "4.75"),
        ("a", "150", "4.25"),
    ]


@pytest.fixture
def evaluated(record_run):
    """The folder of a run with an evaluation within each epoch."""
    path = record_run("a")
    for epoch, loss in ((1, 4.75), (2, 4.25)):
        RunFolder.open(path).append_evaluation(
            {
                "epoch": epoch,
                "step": 100 * epoch - 60,
                "forward_backward_passes": 50,
                "epoch_seconds": 12.5,
                "evaluation": {"validation": {"strict": {"loss": loss}}},
            }
        )
    return path


def test_a_row_per_evaluation_within_epochs(evaluated, record_run, tmp_path):
    *_, evaluations = write_csv(load([evaluated, record_run("b", seed=2)]), tmp_path / "all.csv")
    assert evaluations.name == "all.evaluations.csv"
    rows = rows_of(evaluations)
    assert [(row["run"], row["step"], row["total_passes"], row["total_seconds"]) for row in rows] == [
        ("a", "40", "50", "12.5"),
        ("a", "140", "170", "42.5"),
    ]
    assert [row["evaluation.validation.strict.loss"] for row in rows] == ["4.75", "4.25"]


def test_a_report_has_no_steps_and_no_passes(record_run, tmp_path):
    (path,) = write_csv(load([SEED_REPORT]), tmp_path / "seed.csv")
    assert not (tmp_path / "seed.steps.csv").exists()
    rows = rows_of(path)
    assert len(rows) == 5
    assert rows[4]["total_passes"] == ""
    assert rows[4]["step"] == ""
    assert float(rows[4]["total_seconds"]) == pytest.approx(2804.46)
    assert float(rows[4]["diagnostics.cos_pos_0"]) == 0.0664


def scalars(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory))
    events.Reload()
    return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_the_event_files(record_run, tmp_path):
    pytest.importorskip("tensorboard")
    runs = load([record_run("a"), record_run("b", losses=(4.25, math.nan), seed=2), SEED_REPORT])
    paths = write_tensorboard(runs, tmp_path / "events")
    assert [path.parent.name for path in paths] == ["a", "b", "seed_report"]
    a = scalars(tmp_path / "events" / "a")
    loss = a["epoch/evaluation/validation/strict/loss"]
    assert [(event.step, event.value, event.wall_time) for event in loss] == [
        (100, 4.5, 30.0),
        (200, 4.0, 60.0),
    ]
    assert [(event.step, event.value) for event in a["step/loss"]] == [(50, 4.75), (150, 4.25)]
    assert math.isnan(scalars(tmp_path / "events" / "b")["epoch/train_loss"][1].value)
    seed = scalars(tmp_path / "events" / "seed_report")["epoch/evaluation/validation/seed/loss"]
    assert [event.step for event in seed] == [1, 2, 3, 4, 5]


def test_evaluations_within_epochs_are_events_too(evaluated, tmp_path):
    write_tensorboard(load([evaluated]), tmp_path / "events")
    events = scalars(tmp_path / "events" / "a")
    loss = events["epoch/evaluation/validation/strict/loss"]
    assert [(event.step, event.value, event.wall_time) for event in loss] == [
        (40, 4.75, 12.5),
        (100, 4.5, 30.0),
        (140, 4.25, 42.5),
        (200, 4.0, 60.0),
    ]
    assert [event.wall_time for event in events["step/loss"]] == [12.5, 42.5]


def test_steps_of_an_epoch_that_is_not_complete_come_last(record_run, tmp_path):
    from arsbench.runs.folder import RunFolder

    path = record_run("a", state="interrupted")
    RunFolder.open(path).append_step({"step": 250, "epoch": 3, "loss": 4.0})
    write_tensorboard(load([path]), tmp_path / "events")
    events = scalars(tmp_path / "events" / "a")["step/loss"]
    assert [(event.step, event.wall_time) for event in events] == [(50, 0.0), (150, 30.0), (250, 60.0)]


def test_written_again_event_files_replace_the_old(record_run, tmp_path):
    runs = load([record_run("a")])
    for _ in range(2):
        write_tensorboard(runs, tmp_path / "events")
    assert len(scalars(tmp_path / "events" / "a")["epoch/train_loss"]) == 2


def test_runs_named_by_their_paths_get_folders_inside(record_run, tmp_path):
    runs = load([record_run("x/run"), record_run("y/run", seed=2)])
    directory = tmp_path / "events"
    paths = write_tensorboard(runs, directory)
    assert len({path.parent for path in paths}) == 2
    assert {path.parent.parent for path in paths} == {directory}


def test_without_tensorboard_one_sentence_names_the_extra(record_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(UserError, match=r"arsbench\[tensorboard\]"):
        write_tensorboard(load([record_run("a")]), tmp_path / "events")
    assert not (tmp_path / "events").exists()
