"""The data block of a report: everything comes back, text and block must agree, older reports lack it."""

import json
import math
import re
import warnings
from pathlib import Path

import pytest

from arsbench import report
from arsbench.analysis import load
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder

STRICT = {"loss": 4.25, "perplexity": 70.1054, "bits_per_byte": 1.51234, "word_perplexity": 12345.678}
OLDER = Path(__file__).with_name("older_report.md")
HEADING = "## Run Data"


@pytest.fixture
def written(run, seed_record, evaluation):
    """A run with everything that a report holds, and the report."""
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
        strict = STRICT | {"loss": 4.25123456 / epoch, "targets": 263144}
        spent = {"forward_backward_passes": 600, "epoch_seconds": 250.5, "evaluation_seconds": 0.125}
        middle = {"epoch": epoch, "task": "wikitext2_line", "step": 1234 * epoch - 617} | spent
        run.append_evaluation(middle | {"evaluation": {"validation": evaluation(6.0 / epoch, strict)}})
        run.append_epoch(
            seed_record(
                epoch=epoch,
                step=1234 * epoch,
                train_loss_strict=math.nan,
                evaluation={
                    "validation": evaluation(5.0 / epoch, strict),
                    "test": evaluation(5.1, {"loss": 4.5, "word_perplexity": math.inf}),
                },
            )
        )
    run.set_status("finished", 2468)
    return run, report.write(run)


def records(run):
    return json.dumps([run.epochs(), run.evaluations()])  # NaN is equal to NaN here


def test_everything_comes_back(written, tmp_path):
    run, summary = written
    back = report.import_markdown(summary, tmp_path / "back")
    assert (back.path / "summary.md").read_bytes() == summary.read_bytes()
    assert records(back) == records(run)
    counts = {"steps.jsonl": 0, "epochs.jsonl": 2, "evaluations.jsonl": 2}
    assert RunFolder.open(back.path).status == run.status | {"records": counts, "from_report": True}
    for name in ("config", "effective", "environment", "groups"):
        assert json.dumps(getattr(back, name)) == json.dumps(getattr(run, name))


def test_the_block_is_json_for_any_reader(written):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    block = written[1].read_text().split(f"{HEADING}\n")[1].split("```json\n")[1].split("\n```")[0]
    content = json.loads(block, parse_constant=refuse)
    assert content["epochs"][0]["train_loss_strict"] == "NaN"
    assert content["epochs"][0]["evaluation"]["test"]["strict"]["word_perplexity"] == "Infinity"
    # A line for each field, record and bracket, so that a difference of two reports can be read.
    assert len(block.split("\n")) == 2 + 7 + (2 + 1) + (2 + 2) + (2 + 2)


def test_the_analysis_sees_what_it_sees_in_the_folder(written):
    run, summary = written
    from_folder, from_report = load([run.path, summary])
    for name in ("state", "imported", "config", "environment", "diverged_at", "evaluations"):
        assert getattr(from_report, name) == getattr(from_folder, name)
    metrics = from_folder.metrics()
    assert [metric.name for metric in from_report.metrics()] == [metric.name for metric in metrics]
    assert metrics[0].name == "loss"
    assert from_report.history(metrics[0]) == from_folder.history(metrics[0])
    assert len(from_report.history(metrics[0])) == 4


@pytest.mark.parametrize("diverged_at", [None, 1012])
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("running", ""),
        ("finished", ""),
        ("interrupted", "by hand"),
        ("non_finite", "it became\nnan (step 3)."),
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


def test_a_run_without_an_epoch_comes_back(run, tmp_path):
    text = report.render(run)
    (tmp_path / "empty.md").write_text(text)
    assert report.render(report.import_markdown(tmp_path / "empty.md", tmp_path / "back")) == text


def test_plots_may_follow(written, tmp_path):
    _, summary = written
    text = summary.read_text()
    summary.write_text(text + "\n## Plots\n\n![x](<x.svg>)\n")
    back = report.import_markdown(summary, tmp_path / "back")
    assert (back.path / "summary.md").read_text() == text


def test_a_formatter_may_align_tables_and_rewrite_json(written, tmp_path):
    run, summary = written
    text = re.sub(r" \|$", "        |", summary.read_text(), flags=re.MULTILINE)
    before, block = text.removesuffix("\n```\n").split('```json\n{\n"format"')
    content = json.dumps(json.loads('{"format"' + block), indent=2)
    summary.write_text(f"{before}\n```json\n{content}\n```\n")
    back = report.import_markdown(summary, tmp_path / "back")
    assert records(back) == records(run)


def test_sentences_and_tables_of_another_version_are_not_compared(written):
    run, summary = written
    text = summary.read_text()
    for old, new in (
        ("The run finished after", "The run ended after"),
        ("| Last step |", "| Last |"),
        ("### Backends\n", "### Kernels\n"),
        ("### Effective Configuration", "### All Keys"),
    ):
        assert old in text
        text = text.replace(old, new)
    assert report.parse(text, "summary.md").epochs[1]["step"] == run.epochs()[1]["step"]


TAMPERED = {
    "a cell of the results": (
        "| 2 | wikitext2_line | 5.5468 |",
        "| 2 | wikitext2_line | 5.5469 |",
        r"'5\.5469' is '5\.5468' in the",
    ),
    "a row of the results less": (
        r"\| 2 \| wikitext2_line \| 5.*\n",
        "",
        "the loss of 'wikitext2_line' is 2.50, but 5.00 in its row",
    ),
    "the best epoch": (
        "Metrics**: wikitext2_line Loss: 2.50,",
        "Metrics**: wikitext2_line Loss: 2.40,",
        "the data block gives 'wikitext2_line Loss: 2.50",
    ),
    "the last epoch in full": (
        '{"loss": 2.5, ',
        '{"loss": 2.501, ',
        'the data block gives \'wikitext2_line: {"loss": 2.5,',
    ),
    "another best line": (
        "## Details of This Run\n",
        "## Details of This Run\n- **Best Validation Metrics**: wikitext2_line Loss: 1.00\n",
        "the data block gives 'wikitext2_line Loss: 2.50",
    ),
    "a strict figure": (
        "| test | 4.5000 |",
        "| test | 4.4000 |",
        r"'4\.4000' is '4\.5000' in the data block",
    ),
    "a row of the details more": (
        "| gpu | N/A |\n",
        "| gpu | N/A |\n| tpu | v5 |\n",
        "'tpu' is '' in the data block",
    ),
    "the effective configuration": (
        '    "grad_clip": null',
        '    "grad_clip": 1.0',
        "the effective configuration is not that",
    ),
    "a figure of the block": (
        '"train_loss": 5.54684',
        '"train_loss": 5.64684',
        r"'5\.5468' is '5\.6468' in the data block",
    ),
    "damaged JSON": (
        '"diverged_at": null,\n',
        '"diverged_at": ,\n',
        r"the data block is not JSON \(Expecting value\)",
    ),
    "JSON cut off": (r"\n\]\n\}\n```\n", "\n", "the report ends too early"),
    "a list for the block": (
        r"```json\n\{\n\"format\"(.|\n)*?\n```",
        "```json\n[]\n```",
        "the data block is not a JSON object",
    ),
    "a key twice": (
        '"step": 2468,\n',
        '"step": 2468,\n"step": 2468,\n',
        "the data block is refused: the key 'step' appears twice",
    ),
    "another format": (
        '"format": 1,',
        '"format": 2,',
        "format is 2; it must be 1, the format of this version",
    ),
    "a wrong state": (
        '"state": "finished"',
        '"state": "imported"',
        "state is 'imported'; it must be one of running",
    ),
    "a field missing": ('"message": "",\n', "", "message is missing"),
    "a text for a step": (
        '"step": 2468,\n',
        '"step": "2468",\n',
        "step is '2468'; it must be a whole number",
    ),
    "a text for a figure": (
        '"train_loss": 5.54684',
        '"train_loss": "low"',
        r"epochs\[0\]\.train_loss is 'low'; it must",
    ),
    "a number for a group": (
        '"groups": \\[\n',
        '"groups": [\n5,\n',
        r"groups\[0\] is 5; it must be an object",
    ),
    "an epoch twice": (
        '{"epoch": 2, "task": "wikitext2_line", "step": 2468',
        '{"epoch": 1, "task": "wikitext2_line", "step": 2468',
        r"epochs\[1\]\.epoch 1 follows epoch 1",
    ),
    "the block twice": (r"(## Run Data(.|\n)*)$", r"\1\n\1", "the section '## Run Data' is there twice"),
    "two blocks in a section": (
        r"(```json\n\{\n\"format\"(.|\n)*)$",
        r"\1\n\1",
        "only another section may follow the data block",
    ),
    "no block under the heading": (r"(## Run Data\n)(.|\n)*$", r"\1", "the report ends too early"),
}


@pytest.mark.parametrize(("old", "new", "problem"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_report_is_refused_with_line_and_problem(written, tmp_path, old, new, problem):
    text = written[1].read_text()
    if "\\" not in old:
        old, new = re.escape(old), new.replace("\\", r"\\")
    changed, count = re.subn(old, new, text, count=1)
    assert count == 1
    (tmp_path / "bad.md").write_text(changed)
    with pytest.raises(UserError, match=rf"bad\.md, line \d+: ({problem})") as caught:
        report.import_markdown(tmp_path / "bad.md", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_line_of_a_contradiction_is_named(written):
    text = written[1].read_text().replace("| test | 4.5000 |", "| test | 4.4000 |", 1)
    number = next(n for n, line in enumerate(text.split("\n"), start=1) if "| 4.4000 |" in line)
    with pytest.raises(UserError, match=rf"^summary, line {number}: '4\.4000' is"):
        report.parse(text, "summary")


def test_of_an_older_report_the_sections_of_the_reference_format_are_read(tmp_path):
    skipped = []
    (run,) = load([OLDER], skipped.append)
    assert skipped == [
        f"{OLDER} was written by an older version: its Training Results and Performance Summary are read, "
        f"its details are skipped; to have them read too, rewrite it with `arsbench report RUN`"
    ]
    assert (run.state, run.config["optimizer"]["name"], len(run.epochs)) == ("imported", "ARS", 2)
    assert run.epochs[-1]["evaluation"]["validation"] == {
        "seed": {"loss": 3.8800120250989987, "perplexity": 48.4247973808265}
    }
    back = report.import_markdown(OLDER, tmp_path / "back", skipped.append)
    assert skipped[1:] == skipped[:1]
    assert OLDER.read_text().startswith((back.path / "summary.md").read_text())
    with pytest.warns(UserWarning, match="its details are skipped"):
        load([OLDER])


def test_nothing_is_skipped_of_other_reports(written):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load([written[1], Path(__file__).with_name("seed_report.md")])


@pytest.mark.parametrize(
    "label", ["<script>a</script> | `b`", "![p](http://e/p)\n# Fake", "a: {\\| [x](javascript:y)", "\x1b[31m"]
)
def test_hostile_labels_and_messages_come_back(run, seed_record, evaluation, tmp_path, label):
    task = f"wikitext2_line ({label})"
    run.append_epoch(seed_record(task=task, evaluation={"validation": evaluation(5.0, STRICT)}))
    run.set_environment({"cpu": label, "backends": {"op": label}})
    run.set_status("non_finite", 1234, f"because of {label}\n```\n{HEADING}")
    summary = report.write(run)
    text = summary.read_text()
    assert "\x1b" not in text
    shown = "".join(text.split("\n```")[::2])  # without the blocks of JSON, in which nothing acts
    assert not re.search(r"(?<!\\)(<script|\]\()|\n# Fake", shown)
    assert text.count(f"\n{HEADING}\n") == 1
    back = report.import_markdown(summary, tmp_path / "back")
    assert (back.path / "summary.md").read_text() == text
    assert back.epochs()[0]["task"] == task
    assert (back.environment, back.status["message"]) == (run.environment, run.status["message"])


def test_the_command_line_warns_of_an_older_report_and_refuses_a_tampered_one(arsbench, written, tmp_path):
    warning = f"Warning: {OLDER} was written by an older version: "
    compared = arsbench("compare", str(OLDER), str(written[0].path))
    assert (compared.returncode, compared.stderr.count("\n")) == (0, 1)
    assert compared.stderr.startswith(warning)
    read = arsbench("report", "--from-markdown", str(OLDER), "--out", "back")
    assert (read.returncode, read.stderr) == (0, compared.stderr)
    (tmp_path / "bad.md").write_text(
        written[1].read_text().replace("| 1 | wikitext2_line | 5.5", "| 1 | w | 5.6")
    )
    refused = arsbench("compare", "bad.md", str(OLDER))
    assert refused.returncode == 2
    assert "bad.md, line " in refused.stderr
    assert "Traceback" not in refused.stderr
