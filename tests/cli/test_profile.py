"""`arsbench profile` over two tasks."""

import json

import pytest
from arsbench_cli.main import cli
from click.testing import CliRunner

from arsbench.analysis import load, problems
from arsbench.errors import UserError
from arsbench.pages.profile import profile_charts


def invoke(*arguments):
    result = CliRunner().invoke(cli, ["profile", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def runs(record_run):
    """Two texts, two seeds: Muon is at AdamW's 4.0 an epoch earlier on the first, and never on the second."""
    courses = {
        ("one", "AdamW"): (4.5, 4.0),
        ("one", "Muon"): (4.0, 3.9),
        ("two", "AdamW"): (5.0, 4.6),
        ("two", "Muon"): (5.1, 4.7),
    }
    return [
        record_run(
            f"{text}-{name}-{seed}",
            losses,
            optimizer=name,
            seed=seed,
            config={"experiment": {"tasks": [f"wikitext2_line ({text})"]}},
        )
        for (text, name), losses in courses.items()
        for seed in (1, 2)
    ]


def test_shares_of_two_tasks(runs):
    output = invoke(*runs)
    assert "Share of 4 problems" in output
    table = output.partition("## By passes\n")[2].split("\n")[2:4]
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in table] == [
        ["AdamW", "50%", "50%", "50%", "100%", "100%", "100%"],
        ["Muon", "50%", "50%", "50%", "50%", "50%", "50%"],
    ]
    assert "| wikitext2_line (two) |" in output
    assert "4.6000" in output


def test_what_was_reached_before_divergence_counts(runs, record_run):
    """Of Muon's second seed on the first text, which was at 4.0 after 100 steps, and on the second."""
    for text, losses, step in (("one", (4.0, 3.0), 101), ("two", (5.0, 4.0), 150)):
        tasks = {"experiment": {"tasks": [f"wikitext2_line ({text})"]}}
        name = f"{text}-Muon-3"
        runs.append(record_run(name, losses, optimizer="Muon", seed=3, config=tasks, diverged_at=step))
        runs.append(record_run(f"{text}-AdamW-3", (4.5, 4.0), optimizer="AdamW", seed=3, config=tasks))
    output = invoke(*runs)
    sentence = "one-Muon-3 diverged at step 101 and two-Muon-3 diverged at step 150."
    assert f"Targets that a run reached before it diverged count: {sentence}" in output
    third = [problem for problem in json.loads(invoke(*runs, "--json"))["problems"] if problem["seed"] == 3]
    assert [problem["costs"]["Muon"]["steps"] for problem in third] == [100, "Infinity"]
    assert [problem["diverged_at"] for problem in third] == [
        {"AdamW": None, "Muon": 101},
        {"AdamW": None, "Muon": 150},
    ]


def test_as_json(runs):
    data = json.loads(invoke(*runs, "--json", "--baseline", "Muon"))
    assert [(p["task"], p["seed"], p["target"]) for p in data["problems"]] == [
        ("wikitext2_line (one)", 1, 3.9),
        ("wikitext2_line (one)", 2, 3.9),
        ("wikitext2_line (two)", 1, 4.7),
        ("wikitext2_line (two)", 2, 4.7),
    ]
    assert data["problems"][0]["costs"]["AdamW"]["steps"] == "Infinity"
    assert data["problems"][2]["costs"]["AdamW"] == {"steps": 200, "passes": 240, "seconds": 60.0}
    assert data["profiles"]["steps"]["Muon"] == {"ratios": [1.0], "shares": [1.0]}


def test_the_steps_that_are_drawn(runs):
    found = profile_charts(problems(load(runs)))
    assert [chart.name for chart in found] == ["profile-steps", "profile-passes", "profile-seconds"]
    adamw, muon = found[1].series
    assert (adamw.label, adamw.x, adamw.mean) == ("AdamW", (1.0, 2.0, pytest.approx(2.2)), (0.5, 1.0, 1.0))
    assert (muon.label, muon.x, muon.mean) == ("Muon", (1.0, pytest.approx(2.2)), (0.5, 0.5))


def test_pictures(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = invoke(*runs, "--plots", "pictures")
    for budget in ("steps", "passes", "seconds"):
        assert f"![Performance profile by {budget}](<pictures/profile-{budget}.svg>)" in output
        assert (tmp_path / "pictures" / f"profile-{budget}.png").read_bytes().startswith(b"\x89PNG")
        text = (tmp_path / "pictures" / f"profile-{budget}.svg").read_text()
        for word in ("AdamW", "Muon", "problems solved", "100%", "2×"):
            assert word in text


def test_epochs_too_short_to_be_timed(runs):
    for path in runs:
        epochs = path / "epochs.jsonl"
        epochs.write_text(epochs.read_text().replace('"epoch_seconds": 30.0', '"epoch_seconds": 0.0'))
    assert invoke(*runs).endswith("## By seconds\nNot all runs report their seconds.\n")


def test_contenders_must_be_in_every_task(runs):
    with pytest.raises(UserError, match="the contenders in every task are AdamW; a profile needs"):
        invoke(*runs[:6])


def test_a_seed_that_not_all_completed_is_left_out(runs):
    assert [(p["task"][-4:-1], p["seed"]) for p in json.loads(invoke(*runs[:-1], "--json"))["problems"]] == [
        ("one", 1),
        ("one", 2),
        ("two", 1),
    ]
    rows = [line.split("|") for line in invoke(*runs[:-1]).split("\n") if line.startswith("| wikitext2_line")]
    assert [[row[1].strip(), row[-2].strip()] for row in rows] == [
        ["wikitext2_line (one)", "1, 2"],
        ["wikitext2_line (two)", "1"],
    ]
    with pytest.raises(
        UserError, match=r"\(two\) has no seed for which all of AdamW and Muon have a finished"
    ):
        invoke(*runs[:5], runs[7])
