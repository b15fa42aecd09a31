"""Reading back what a report of ours tells beyond the seed report's form."""

import math
import re

import pytest

from arsbench import report
from arsbench.analysis import load
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder

STRICT = {"loss": 4.25, "perplexity": 70.1054, "bits_per_byte": 1.51234, "word_perplexity": 12345.678}


@pytest.fixture
def told(run, seed_record, evaluation):
    """A run with everything that a report can tell, and its report."""
    run.set_environment(
        {
            "arsbench": "1.10",
            "commit": "123456789012",
            "cpu": "A | B",
            "threads": 2,
            "gpu": None,
            "backends": {"newton_schulz": "CPU kernel", "rope_attention": {"float32": "CPU kernel"}},
        }
    )
    for epoch in (1, 2):
        strict = STRICT | {"loss": 4.25 / epoch, "targets": 263144}
        run.append_epoch(
            seed_record(
                epoch=epoch,
                step=1234 * epoch,
                evaluation={
                    "validation": evaluation(5.0 / epoch, strict),
                    "test": evaluation(5.1, {"loss": 4.5, "word_perplexity": math.inf}),
                },
            )
        )
    run.set_status("finished", 2468)
    return run, report.write(run)


def test_a_report_of_ours_comes_back_whole(told, tmp_path):
    run, summary = told
    back = report.import_markdown(summary, tmp_path / "back")
    assert (back.path / "summary.md").read_text() == summary.read_text()
    records = {"steps.jsonl": 0, "epochs.jsonl": 2}
    assert RunFolder.open(back.path).status == run.status | {"records": records, "from_report": True}
    assert (back.config, back.effective, back.environment) == (run.config, run.effective, run.environment)
    assert back.groups == run.groups
    last = back.epochs()[-1]
    assert last["evaluation"] == {
        "validation": {
            "seed": run.epochs()[-1]["evaluation"]["validation"]["seed"],
            "strict": {
                "loss": 2.125,
                "perplexity": 70.11,
                "bits_per_byte": 1.5123,
                "word_perplexity": 12345.68,
                "targets": 263144,
            },
        },
        "test": {"strict": {"loss": 4.5, "word_perplexity": math.inf}},
    }
    assert (last["step"], last["forward_backward_passes"], last["evaluation_seconds"]) == (
        2468,
        1481,
        21.3456,
    )
    assert last["diagnostics"]["cos_pos_2_pre"] == -0.0065


def test_the_analysis_sees_what_the_folder_tells(told):
    run, summary = told
    ours, read = load([run.path, summary])
    assert (read.state, read.imported, read.config) == (ours.state, False, ours.config)
    assert read.environment == ours.environment
    assert [metric.name for metric in read.metrics()] == [metric.name for metric in ours.metrics()]
    metric = ours.metrics()[0]
    assert metric.name == "loss"
    for point, own in zip(read.history(metric), ours.history(metric), strict=True):
        assert (point.steps, point.passes, point.value) == (own.steps, own.passes, own.value)
        assert point.seconds == pytest.approx(own.seconds, abs=1e-5)


@pytest.mark.parametrize("diverged_at", [None, 1012])
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("running", ""),
        ("finished", ""),
        ("interrupted", "By hand"),
        ("non_finite", "It became nan (step 3)"),
        ("failed", "ValueError: no luck (mine.py, line 7)"),
    ],
)
def test_how_the_run_ended_comes_back(run, seed_record, tmp_path, state, message, diverged_at):
    run.append_epoch(seed_record())
    run.set_status(state, 1234, message, diverged_at=diverged_at)
    summary = report.write(run)
    back = report.import_markdown(summary, tmp_path / "back")
    assert back.status.get("diverged_at") == diverged_at
    assert [back.status[key] for key in ("state", "step", "message")] == [state, 1234, message]
    assert (back.path / "summary.md").read_text() == summary.read_text()
    (read,) = load([summary])
    assert (read.state, read.diverged_at) == (state, diverged_at)


def test_seconds_of_many_short_epochs_add_up(run, seed_record, evaluation):
    for epoch in range(1, 101):
        figures = {"validation": evaluation(5.0, {"loss": 4.0})}
        seconds = {"epoch_seconds": 0.0148, "evaluation_seconds": 0.0004}
        run.append_epoch(seed_record(epoch=epoch, evaluation=figures, **seconds))
    (read,) = load([report.write(run)])
    assert read.history(read.metrics()[0])[-1].seconds == pytest.approx(1.44)


@pytest.mark.parametrize("text", ["", "hello", "two words"])
def test_hyperparameters_that_are_texts(run, text):
    run = RunFolder.create(
        run.path.with_name("other"),
        config=run.config,
        effective={},
        environment={},
        groups=[{"name": "all", "tensors": 1, "parameters": 2, "hyperparameters": {"lr": 0.1, "rule": text}}],
    )
    assert report.parse(report.render(run), "summary.md").details.groups == run.groups


def test_plots_may_follow(told, tmp_path):
    _, summary = told
    text = summary.read_text()
    summary.write_text(text + "\n## Plots\n\n![x](<x.svg>)\n")
    back = report.import_markdown(summary, tmp_path / "back")
    assert (back.path / "summary.md").read_text() == text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("The run finished after", "The run ended after", "how the run ended should stand here"),
        ("after step 2,468.", "after step ,.", "how the run ended should stand here"),
        ("### Strict Protocol", "### Protocol", "'### Strict Protocol' or '### Milestones' should"),
        ("| Bits per byte |", "| Bits |", "'Epoch | Task | Split .* should be the headers here"),
        ("| validation | 4.2500 |", "| validation | 4.25OO |", "'4.25OO' in column 'Loss' is neither"),
        ("| 2 | wikitext2_line | test |", "| 3 | wikitext2_line | test |", "there is no epoch 3 of 'wikit"),
        ("| Last step |", "| Last |", "'Epoch .* are not the headers of '### Cost and Diagnostics'"),
        ("| 28 |", "| many |", r"'many \| 18,874,368' are not the numbers of tensors"),
        ("| lr 0.0001,", "| 0.0001,", "'0.0001' has no name of a hyperparameter before it"),
        ("### Backends", "### Backend", "'### Backends' should stand here"),
        ("| Fact | Value |", "| Fact |", r"'Fact \| Value' should be the headers here"),
        ('"grad_clip": null\n', '"grad_clip": null,\n', "the configuration is not JSON"),
    ],
)
def test_malformed_details_are_refused_with_line_and_problem(told, tmp_path, old, new, problem):
    text = told[1].read_text()
    assert old in text
    (tmp_path / "bad.md").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"bad\.md, line \d+: {problem}"):
        report.import_markdown(tmp_path / "bad.md", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "title", ["## Details of This Run", "### Cost and Diagnostics", "### Effective Config"]
)
def test_a_report_that_ends_too_early_is_refused(told, tmp_path, title):
    text = told[1].read_text()
    (tmp_path / "bad.md").write_text(text[: text.index(title) + len(title)])
    with pytest.raises(UserError, match=r"ends too early|should stand here"):
        load([tmp_path / "bad.md"])


@pytest.mark.parametrize(
    "label", ["<script>a</script> | `b`", "![p](http://e/p)\n# Fake", "a: {\\| [x](javascript:y)", "\x1b[31m"]
)
def test_hostile_labels_and_messages_come_back(run, seed_record, evaluation, tmp_path, label):
    task = f"wikitext2_line ({label})"
    run.append_epoch(seed_record(task=task, evaluation={"validation": evaluation(5.0, STRICT)}))
    run.set_environment({"cpu": label, "backends": {"op": label}})
    run.set_status("non_finite", 1234, f"because of {label}")
    summary = report.write(run)
    text = summary.read_text()
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)(<script|\]\()|\n# Fake", text.split("```")[2])
    back = report.import_markdown(summary, tmp_path / "back")
    assert (back.path / "summary.md").read_text() == text
    assert back.epochs()[0]["task"] == task
    assert back.environment == run.environment
    assert back.status["message"] == "Because of " + " ".join(label.split())
