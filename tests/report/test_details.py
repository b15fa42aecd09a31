"""The details of a report: what the reference format has no place for."""

import json
import math

import pytest

from arsbench import report


def section(text, title):
    return text.split(f"### {title}\n")[1].split("\n\n")[0].split("\n")


def test_the_strict_protocol_has_a_row_for_each_split(run, seed_record, evaluation):
    whole = {
        "loss": 4.25,
        "perplexity": 70.1054,
        "bits_per_byte": 1.51234,
        "word_perplexity": 12345.678,
        "targets": 263144,
    }
    partial = {"loss": 4.5, "word_perplexity": math.inf}
    run.append_epoch(
        seed_record(evaluation={"validation": evaluation(5.0, whole), "test": evaluation(5.1, partial)})
    )
    _, _, *rows = section(report.render(run), "Strict Protocol")
    assert rows == [
        "| 1 | wikitext2_line | validation | 4.2500 | 70.11 | 1.5123 | 12,345.68 | 263,144 |",
        "| 1 | wikitext2_line | test | 4.5000 | N/A | N/A | > 1e6 | N/A |",
    ]


def test_cost_and_diagnostics(run, seed_record):
    run.append_epoch(seed_record())
    headers, _, row = section(report.render(run), "Cost and Diagnostics")
    assert headers == (
        "| Epoch | Task | Last step | Forward-backward passes | Epoch time (s) "
        "| Evaluation time (s) | Tokens/s "
        "| Peak GPU memory (MiB) | Peak resident memory (MiB) | Entropy (nats per token) "
        "| cos_pos_0 before injection | cos_pos_2 before injection | cos_pos_3 before injection "
        "| cos_pos_4 before injection |"
    )
    assert row == (
        "| 1 | wikitext2_line | 1,234 | 1,481 | 551.230100 | 21.345600 | 12,346 | 3,108.8 | 2,100.0 | 5.1235 "
        "| 0.0400 | -0.0065 | 0.0200 | 0.0300 |"
    )


def test_the_training_loss_per_real_target_has_a_column_where_it_is_recorded(run, seed_record):
    run.append_epoch(seed_record())
    assert "Train loss (strict)" not in report.render(run)
    run.append_epoch(seed_record(epoch=2, train_loss_strict=5.98765))
    headers, _, first, second = (
        row.split(" | ") for row in section(report.render(run), "Cost and Diagnostics")
    )
    at = headers.index("Train loss (strict)")
    assert (first[at], second[at]) == ("N/A", "5.9877")


def test_groups_backends_environment_and_effective_configuration(run):
    text = report.render(run)
    assert section(text, "Parameter Groups")[2:] == [
        r"| matrix | 28 | 18,874,368 | lr 0.0001, betas [0.9, 0.999], note a\|b |"
    ]
    assert section(text, "Backends")[2:] == ["| newton_schulz | CPU kernel |"]
    assert section(text, "Environment")[2:] == ["| python | 3.11.7 |", "| gpu | N/A |"]
    block = text.split("### Effective Configuration\n")[1].split("```json\n")[1].split("\n```")[0]
    assert json.loads(block) == run.effective


@pytest.mark.parametrize(
    ("state", "message", "sentence"),
    [
        ("finished", "", "The run finished after step 1,234."),
        ("interrupted", "", "**The run was interrupted after step 1,234**; it can be resumed from there."),
        (
            "non_finite",
            "the loss became nan at step 1235",
            "**The run stopped after step 1,234, because a value was no longer finite.** "
            "The loss became nan at step 1235.",
        ),
        (
            "failed",
            "ValueError: no luck (mine.py, line 7)",
            "**The run failed after step 1,234**; it can be resumed. ValueError: no luck (mine.py, line 7).",
        ),
        ("running", "two\nlines", "last recorded step is 1,234. Two lines."),
    ],
)
def test_how_the_run_ended_is_a_sentence(run, state, message, sentence):
    run.set_status(state, 1234, message)
    assert any(line.endswith(sentence) for line in report.render(run).split("\n"))


def test_a_run_that_diverged_says_so_in_a_line(run):
    run.set_status("finished", 1234, diverged_at=1012)
    lines = report.render(run).split("\n")
    ended = lines.index("The run finished after step 1,234.")
    assert lines[ended + 1].startswith("**The run diverged at step 1,012**: its training loss")
    assert lines[ended + 2] == ""


def test_every_table_is_rectangular(run, seed_record, evaluation):
    run.append_epoch(seed_record(task="a|b", evaluation={"validation": evaluation(5.0, {"loss": 4.25})}))
    text = report.render(run).replace(r"\|", "")
    tables = [block for block in text.split("\n\n") if "\n|" in f"\n{block}"]
    assert len(tables) == 6
    for block in tables:
        assert len({line.count("|") for line in block.split("\n") if line.startswith("|")}) == 1, block


def test_before_the_first_epoch_there_is_nothing_to_show(run):
    text = report.render(run)
    assert section(text, "Strict Protocol") == ["Nothing is recorded yet."]
    assert section(text, "Cost and Diagnostics") == ["Nothing is recorded yet."]
    assert "last recorded step is 0" in text


def test_an_imported_run_has_no_details(run):
    run.set_status("imported", 0)
    assert "## Details" not in report.render(run)
