"""Reports of a task that is judged by its accuracy."""

import json
import math

import pytest

from arsbench import report
from arsbench.errors import UserError
from arsbench.metrics import milestones
from arsbench.runs.folder import RunFolder

TASK = "mod_addition (tiny)"


def record(epoch, accuracy, loss=0.5, **changes):
    evaluation = {"validation": {"all": {"loss": loss, "accuracy": accuracy, "targets": 8939}}}
    return {
        "epoch": epoch,
        "task": TASK,
        "step": 8 * epoch,
        "train_loss": 0.25,
        "lr": 1e-3,
        "pi": 0.5,
        "effective_gamma": None,
        "entropy": 0.01,
        "entropy_nats": 1.1,
        "grad_norm": 0.125,
        "epoch_seconds": 0.5,
        "forward_backward_passes": 12,
        "tokens_per_second": 20000.0,
        "train_accuracy": 0.98765,
        "peak_gpu_mib": None,
        "peak_rss_mib": 200.0,
        "diagnostics": {"cos_pos_2": 0.5, "cos_pos_2_pre": 0.25},
        "evaluation": evaluation,
    } | changes


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(
        tmp_path / "run",
        config={"experiment": {"tasks": [TASK], "seed": 1}},
        effective={"train": {"stop_at": 0.99}},
        environment={"python": "3.11.7", "backends": {"newton_schulz": "CPU kernel"}},
        groups=[],
    )


def line_of(text, start):
    (line,) = [line for line in text.split("\n") if line.startswith(start)]
    return line


def section(text, title):
    return text.split(f"### {title}\n")[1].split("\n\n")[0].split("\n")


def test_the_last_columns_are_loss_and_accuracy(run):
    run.append_epoch(record(1, 0.99123456, loss=0.0625))
    headers, row = report.results_table(run)
    assert headers[:2] == ["Epoch", "Task"]
    assert headers[-4:] == ["Peak GPU Mem (MB)", "Diag cos_pos_2", "Eval Loss", "Eval Accuracy"]
    assert row[-3:] == ["0.5000", "0.0625", "0.9912"]


def test_best_is_the_first_epoch_of_the_highest_accuracy(run):
    for epoch, (accuracy, loss) in enumerate(
        ((0.5, 0.1), (math.nan, 0.1), (0.9, 0.75), (0.9, 0.25), (0.7, 0.05)), start=1
    ):
        run.append_epoch(record(epoch, accuracy, loss))
    text = report.render(run)
    assert line_of(text, "- **Best V").endswith(f": {TASK} Loss: 0.7500, {TASK} Accuracy: 0.9000")
    assert line_of(text, "- **Final V").endswith(f': {TASK}: {{"loss": 0.05, "accuracy": 0.7}}')


def test_milestones_name_the_first_epoch_and_its_cost(run):
    for epoch, accuracy in enumerate((0.05, 0.5, 0.2, 0.5, 0.93), start=1):
        run.append_epoch(record(epoch, accuracy, epoch_seconds=600.25, forward_backward_passes=500))
    rows = section(report.render(run), "Milestones")
    assert [line for line in rows if line.startswith("|")] == [
        "| Accuracy | Epoch | Step | Forward-backward passes | Seconds |",
        "|----------|-------|------|-------------------------|---------|",
        "| 10% | 2 | 16 | 1,000 | 1,200.5 |",
        "| 50% | 2 | 16 | 1,000 | 1,200.5 |",
        "| 90% | 5 | 40 | 2,500 | 3,001.2 |",
        "| 99% | N/A | N/A | N/A | N/A |",
    ]


def test_milestones_of_incomplete_records(run):
    """Other reports have neither steps nor passes; NaN reaches nothing, an equal value does."""
    records = [record(1, math.nan), record(2, 0.1), record(3, 0.99, epoch_seconds=None)]
    for entry in records:
        del entry["step"], entry["forward_backward_passes"]
    reached = milestones(records)
    assert list(reached) == [0.1, 0.5, 0.9, 0.99]
    assert (reached[0.1].epoch, reached[0.1].steps, reached[0.1].passes, reached[0.1].seconds) == (
        2,
        None,
        None,
        1.0,
    )
    assert reached[0.5] == reached[0.99]
    assert (reached[0.99].epoch, reached[0.99].seconds) == (3, None)
    assert set(milestones([]).values()) == {None}


def test_details_show_training_accuracy_and_nothing_of_text(run):
    run.append_epoch(record(1, 0.5))
    text = report.render(run)
    headers, _, row = section(text, "Cost and Diagnostics")
    assert "| Train accuracy | cos_pos_2 before injection |" in headers
    assert row.endswith("| 0.9877 | 0.2500 |")
    assert "highest validation accuracy" in text
    for word in ("Strict Protocol", "perplexity", "Perplexity", "padding", "Eval Loss** and **Eval Perp"):
        assert word not in text


def test_before_the_first_epoch_the_configuration_tells_the_columns(run):
    assert report.results_table(run)[0][-2:] == ["Eval Loss", "Eval Accuracy"]
    assert "| 10% | N/A |" in report.render(run)
    empty = RunFolder.create(
        run.path.parent / "empty", config={"experiment": 3}, effective={}, environment={}, groups=[]
    )
    assert report.results_table(empty)[0][-2:] == ["Eval Loss", "Eval Perplexity"]


@pytest.mark.parametrize("epochs", [0, 3])
def test_a_report_comes_back(run, tmp_path, epochs):
    for epoch in range(1, epochs + 1):
        run.append_epoch(record(epoch, epoch / 3, 1 / epoch / 7))
    report.write(run)
    back = report.import_markdown(run.path / "summary.md", tmp_path / "back")
    assert (back.path / "summary.md").read_text() == (run.path / "summary.md").read_text()
    assert back.epochs() == run.epochs()


def malformed(run):
    run.append_epoch(record(1, 0.5))
    text = report.render(run)
    return {
        "another task's columns": (text.replace(f"| 1 | {TASK} |", "| 1 | text |"), "of the task 'text'"),
        "a column missing": (
            text.replace(" Eval Accuracy |", ""),
            "the table ends where the format has 'Eval Perplexity'",
        ),
        "accuracy contradicts": (text.replace('"accuracy": 0.5', '"accuracy": 0.6'), "but 0.5000 in its row"),
        "a metric missing": (text.replace(', "accuracy": 0.5', ""), "is N/A, but 0.5000 in its row"),
    }


@pytest.mark.parametrize(
    "name", ["another task's columns", "a column missing", "accuracy contradicts", "a metric missing"]
)
def test_a_malformed_report_is_refused(run, tmp_path, name):
    text, problem = malformed(run)[name]
    (tmp_path / "bad.md").write_text(text)
    with pytest.raises(UserError, match=problem):
        report.import_markdown(tmp_path / "bad.md", tmp_path / "out")


def test_the_analysis_sees_the_same_figures(run):
    from arsbench.analysis import load

    for epoch in range(1, 4):
        run.append_epoch(record(epoch, epoch / 4))
    report.write(run)
    ours, imported = load([run.path, run.path / "summary.md"])
    assert [m.name for m in ours.metrics()] == [m.name for m in imported.metrics()]
    metric = ours.metrics()[0]
    assert [p.value for p in ours.history(metric)] == [p.value for p in imported.history(metric)]
    assert [p.passes for p in ours.history(metric)] == [12, 24, 36]
    assert json.loads(json.dumps(ours.epochs)) == run.epochs()
