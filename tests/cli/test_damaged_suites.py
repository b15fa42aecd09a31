"""Suites that somebody has damaged or made up: one sentence that names the file, exit code 2, no harm."""

import json
from pathlib import Path

import pytest
from arsbench_cli import main as program

from arsbench.config import config_from_dict
from arsbench.suite.file import suite_from_dict
from arsbench.suite.folder import SuiteFolder

READING = {
    "compare": ("compare", "suite"),
    "profile": ("profile", "suite"),
    "report": ("report", "suite"),
    "status": ("suite", "status", "suite"),
}


@pytest.fixture
def suite(record_run, tmp_path, monkeypatch):
    """A suite of AdamW and ARS, two seeds each, which have run; commands are called beside it."""
    base = {"experiment": {"tasks": ["wikitext2_line"]}}
    contenders = {"AdamW": {"name": "AdamW"}, "ARS": {"k": 3}}
    given = {"name": "two", "config": "x", "seeds": [1, 2], "contenders": contenders, "baseline": "ARS"}
    SuiteFolder(tmp_path / "suite").plan(suite_from_dict(given, base), {"AdamW": 200, "ARS": 200}, 1)
    for name in contenders:
        for seed in (1, 2):
            record_run(f"suite/runs/{name.lower()}/seed-{seed}", optimizer=name, seed=seed)
    assert config_from_dict(base).task == "wikitext2_line"
    monkeypatch.chdir(tmp_path)
    return tmp_path / "suite"


@pytest.fixture
def call(capfd, monkeypatch):
    """Call a command; returns its exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["arsbench", *arguments])
        with pytest.raises(SystemExit) as exit_:
            program.main()
        done = capfd.readouterr()
        return exit_.value.code or 0, done.out, done.err

    return call


def edit(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def entry(**changes):
    """A change of the plan's first run."""
    return lambda plan: plan | {"runs": [plan["runs"][0] | changes, *plan["runs"][1:]]}


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plan: plan | {"runs": {}}, "runs is {}; it must be a list"),
        (lambda plan: plan | {"runs": [5]}, "runs[0] is 5; it must be an object"),
        (lambda plan: plan | {"name": 5}, "name is 5"),
        (lambda plan: plan | {"tuning": {"contenders": [1]}}, "tuning.contenders is [1]"),
        (lambda plan: plan | {"tuning": {"contenders": {"ARS": {"trials": "x"}}}}, "tuning.contenders.ARS."),
        (
            lambda plan: plan | {"base": {"experiment": {"tasks": 5}}},
            "base.experiment.tasks is 5; it must be a",
        ),
        (lambda plan: plan | {"base": {"experiment": {"tasks": []}}}, "base.experiment.tasks is []"),
        (lambda plan: plan | {"base": {"data": 5}}, "base.data is 5; it must be an object"),
        (entry(contender=None), "runs[0].contender is None"),
        (entry(config={}), "runs[0].config.experiment is missing"),
        (entry(config={"experiment": {"seed": "x", "tasks": ["t"]}}), "experiment.seed is 'x'"),
        (entry(config={"experiment": {"seed": 1, "tasks": []}}), "experiment.tasks is []"),
        (entry(folder="../../elsewhere"), "runs[0].folder is '../../elsewhere'; it must be a path inside"),
        (entry(folder="/etc"), "runs[0].folder is '/etc'; it must be a path inside"),
        (entry(name="../x"), "runs[0].name is '../x'; it must be a name of letters"),
        (entry(steps=10**400), "runs[0].steps is 1000"),
    ],
)
def test_a_damaged_plan(suite, call, command, change, words):
    edit(suite / "plan.json", change)
    code, _, error = call(*READING[command])
    assert code == 2, error
    assert error.startswith("Error: ")
    assert "plan.json is damaged: " in error
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", READING)
def test_a_damaged_failure(suite, call, command):
    (suite / "failures").mkdir()
    (suite / "failures" / "ars-seed-1.json").write_text("{}")
    code, _, error = call(*READING[command])
    assert code == 2
    assert "ars-seed-1.json is damaged: message is missing" in error


def test_a_damaged_run_is_one_that_failed(suite, call):
    records = suite / "runs" / "ars" / "seed-1" / "epochs.jsonl"
    records.write_text(records.read_text().replace('"epoch": 2', '"epoch": "two"'))
    code, output, error = call("compare", "suite")
    assert code == 0, error
    assert "epochs.jsonl, line 2, is damaged: epoch is 'two'" in output
    code, output, _ = call("suite", "status", "suite")
    assert code == 0
    assert "failed" in output


@pytest.mark.parametrize("step", ['"60"', "[1]", "-1", "null", "1" + "0" * 400])
def test_a_damaged_step_does_not_stop_the_status(suite, call, step):
    (suite / "runs" / "ars" / "seed-1" / "steps.jsonl").write_text(f'{{"step": {step}}}\n')
    code, output, _ = call("suite", "status", "suite")
    assert code == 0
    assert "ars-seed-1" in output


HOSTILE = "\x1b[31mred\x1b]0;title\x07\nline\u202e"


def test_no_character_of_a_name_or_message_acts_on_the_terminal(suite, call):
    def rename(plan):
        runs = [run | {"contender": run["contender"].replace("ARS", HOSTILE)} for run in plan["runs"]]
        given = plan["suite"] | {"name": HOSTILE}
        return plan | {"name": HOSTILE, "suite": given, "runs": runs}

    edit(suite / "plan.json", rename)
    (suite / "failures").mkdir()
    (suite / "failures" / "ars-seed-1.json").write_text(json.dumps({"message": HOSTILE}))
    for arguments in (*READING.values(), ("compare", "suite", "--baseline", HOSTILE)):
        _, output, error = call(*arguments)
        for character in HOSTILE.replace("\n", ""):
            assert character.isprintable() or character not in output + error, arguments
        assert "\nline" not in output + error
    assert "\x1b" not in Path("suite/summary.md").read_text()
