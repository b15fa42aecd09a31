"""`arsbench compare`, and what `arsbench report` writes besides summary.md."""

import contextlib
import json
import math
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from arsbench_cli.main import cli
from click.testing import CliRunner

from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder

COMMAND = [sys.executable, "-c", "from arsbench_cli.main import main; main()"]
SEED_REPORT = Path(__file__).parents[1] / "report" / "seed_report.md"


def invoke(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def error_of(*arguments):
    """The one sentence that wrong input gets."""
    with pytest.raises(UserError) as caught:
        invoke(*arguments)
    return str(caught.value)


@pytest.fixture
def adamw(record_run):
    return record_run("adamw", (4.5, 4.0), optimizer="AdamW")


@pytest.fixture
def muon(record_run):
    return record_run("muon", (4.5, 4.1), optimizer="Muon")


def test_the_seed_report_beside_a_run(record_run):
    output = invoke("compare", SEED_REPORT, record_run("own", seed=42)).stdout
    assert "seed protocol" in output.split("\n")[2]
    assert "ARS (seed_report)" in output
    assert (
        output.index("## Warnings")
        < output.index("## Configuration differences")
        < output.index("## Results")
    )
    assert output.rstrip().split("\n## ")[-1].startswith("Verdict")


def test_json_and_csv(adamw, muon, tmp_path):
    done = invoke("compare", adamw, muon, "--json", "--csv", tmp_path / "all.csv", "--target", "4.2")
    data = json.loads(done.stdout)
    assert data["baseline"] == "AdamW"
    assert data["target"] == 4.2
    assert [result["contender"] for result in data["results"]] == ["AdamW", "Muon"]
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 5
    assert len((tmp_path / "all.steps.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("tolerance", "code"),
    [("2%", 1), ("3%", 0), ("0.09", 1), ("0.11", 0), ("0", 1), ("1e-3", 1), (" 2.6 % ", 0)],
)
def test_fail_if_worse(adamw, muon, tolerance, code):
    done = invoke("compare", adamw, muon, "--fail-if-worse", tolerance, code=code)
    assert "## Results" in done.stdout
    if code:
        assert done.stderr.startswith("Error: worse than AdamW by more than ")
        assert "Muon, 4.1000 against 4.0000 (+2.50 %), p unknown" in done.stderr
        assert len(done.stderr.strip().split("\n")) == 1
    else:
        assert not done.stderr


def test_the_first_source_is_the_reference_unless_another_is_named(adamw, muon):
    invoke("compare", muon, adamw, "--fail-if-worse", "0.5%")
    invoke("compare", muon, adamw, "--fail-if-worse", "0.5%", "--baseline", "AdamW", code=1)
    done = invoke("compare", muon, adamw, "--fail-if-worse", "0.5%", "--baseline", adamw, "--json", code=1)
    assert json.loads(done.stdout)["worse"] == ["Muon"]


def test_the_p_value_is_said_where_there_is_one(record_run):
    paths = [
        record_run(f"{name}-{seed}", (base + spread * seed,), optimizer=name, seed=seed)
        for name, base, spread in (("AdamW", 4.0, 0.01), ("Muon", 4.1, 0.02))
        for seed in (1, 2, 3)
    ]
    done = invoke("compare", *paths, "--fail-if-worse", "1%", code=1)
    assert "p = " in done.stderr


def test_the_test_can_be_chosen(record_run):
    paths = [
        record_run(f"{name}-{seed}", (base + spread * seed,), optimizer=name, seed=seed)
        for name, base, spread in (("AdamW", 4.0, 0.01), ("Muon", 4.1, 0.02))
        for seed in (1, 2, 3)
    ]
    for test, name in (("auto", "paired t-test"), ("permutation", "exact permutation test")):
        data = json.loads(invoke("compare", *paths, "--test", test, "--json").stdout)
        assert {comparison["test"] for comparison in data["comparisons"]} == {name}
        assert f"Significance: {name}" in data["verdict"]
    assert "'auto', 't', 'permutation'" in invoke("compare", *paths, "--test", "z", code=2).stderr


def test_nan_is_worse_than_any_tolerance(adamw, record_run):
    diverged = record_run("diverged", (4.5, math.nan), optimizer="Muon")
    assert "Muon" in invoke("compare", adamw, diverged, "--fail-if-worse", "1000%", code=1).stderr


@pytest.mark.parametrize("tolerance", ["a bit", "-1%", "nan", "inf", "0.5%%", "", "1.2.3", "."])
def test_a_tolerance_that_is_none(adamw, muon, tolerance):
    done = invoke("compare", adamw, muon, f"--fail-if-worse={tolerance}", code=2)
    assert "0.5%" in done.stderr
    assert not done.stdout


def test_wrong_input_gets_a_sentence(adamw, muon, record_run, tmp_path):
    assert "did you mean 'loss'" in error_of("compare", adamw, muon, "--metric", "lsos")
    assert "did you mean 'Muon'" in error_of("compare", adamw, muon, "--baseline", "Moun")
    other = record_run("other", config={"experiment": {"tasks": ["mod_addition"]}})
    assert "different tasks" in error_of("compare", adamw, other)
    assert "is named twice" in error_of("compare", adamw, adamw)
    assert "does not exist" in error_of("compare", adamw, tmp_path / "nowhere")
    (muon / "effective.json").unlink()
    assert "no effective.json" in error_of("compare", adamw, muon)
    (tmp_path / "short.md").write_text(SEED_REPORT.read_text().replace(" Eval Perplexity |", ""))
    assert "short.md, line" in error_of("compare", adamw, tmp_path / "short.md")
    invoke("compare", code=2)


def test_a_line_cut_off_by_a_crash_is_no_obstacle(adamw, muon):
    with (muon / "epochs.jsonl").open("a") as file:
        file.write('{"epoch": 3, "task"')
    assert "4.1000" in invoke("compare", adamw, muon).stdout


def test_a_finished_run_without_its_end_is_damaged(adamw, muon):
    epochs = muon / "epochs.jsonl"
    epochs.write_text(epochs.read_text()[:-20])
    assert "epochs.jsonl is damaged: it has 1 of the 2 records" in error_of("compare", adamw, muon)


def test_nothing_to_compare_with_is_no_pass(adamw):
    assert "AdamW is the only contender" in error_of("compare", adamw, "--fail-if-worse", "1%")
    assert "the target is nan" in error_of("compare", adamw, "--target", "nan")


@pytest.mark.parametrize(("option", "name"), [("--csv", "config.json"), ("--html", "summary.md")])
def test_no_file_of_another_kind_is_overwritten(adamw, muon, option, name):
    invoke("report", adamw)
    before = (adamw / name).read_text()
    done = invoke("compare", adamw, muon, option, adamw / name, code=2)
    assert f"{name}' does not end in .{option[2:]}; give such a name" in done.stderr
    assert (adamw / name).read_text() == before


def test_documents_of_another_shape(adamw, tmp_path):
    text = SEED_REPORT.read_text()
    for old, new, value in (
        ('"seed": 42', '"seed": [42]', "experiment.seed is [42]; it must be a whole number"),
        ('"name": "ARS"', '"name": 3', "optimizer.name is 3; it must be a text"),
        ('"optimizer": {', '"optimizer": "ARS", "then": {', "optimizer is 'ARS'; it must be an object"),
    ):
        assert old in text
        (tmp_path / "shape.md").write_text(text.replace(old, new))
        assert value in error_of("compare", adamw, tmp_path / "shape.md")
    (adamw / "groups.json").write_text('[1, "x"]')
    assert "groups.json is damaged" in error_of("report", adamw)
    (tmp_path / "suite").mkdir()
    plan = {"name": "s", "baseline": None, "tuning": None}
    entry = {"name": "a", "contender": "A", "folder": "a", "config": {}}
    for content in ({}, plan, plan | {"runs": [entry | {"folder": 1}]}, plan | {"runs": [], "tuning": 1}):
        (tmp_path / "suite" / "plan.json").write_text(json.dumps(content))
        for command in (["compare"], ["report"], ["suite", "status"]):
            message = error_of(*command, tmp_path / "suite")
            assert "plan.json is damaged: " in message


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "no JSON",
        "[" * 100_000,
        '{"runs": 1}',
        '{"runs": [], "name": "trip"}',
        '{"runs": ["Monday"], "name": "training", "baseline": null, "tuning": null}',
        '{"runs": [{"folder": "a"}], "name": "s", "baseline": "a", "tuning": {}}',
    ],
)
def test_somebody_elses_plan_in_a_folder_above_is_ignored(record_run, tmp_path, content):
    runs = [
        record_run(f"above/{name}/run-{seed}", optimizer=name, seed=seed)
        for name in ("AdamW", "Muon")
        for seed in (1, 2)
    ]
    before = invoke("compare", *runs, "--json").stdout
    for folder in (tmp_path, tmp_path / "above", runs[0].parent, runs[0]):
        (folder / "plan.json").write_text(content)
    assert invoke("compare", *runs, "--json").stdout == before
    invoke("profile", *runs)
    invoke("report", runs[0], "--html")
    assert (runs[0] / "report.html").is_file()


def test_pictures_and_page(adamw, muon, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke("compare", adamw, muon, "--plots", "out/plots")
    assert done.stderr == "Plots: out/plots\n"
    output = done.stdout
    links = [line for line in output.split("\n") if line.startswith("![")]
    assert links
    for link in links:
        assert Path(link.partition("(<")[2].rstrip(">)")).is_file()


def test_with_a_page_the_verdict_is_printed_and_what_was_written(adamw, muon, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", adamw, muon, "--html", "out/page.html", "--csv", "all.csv"]
    verdict = json.loads(invoke(*arguments[:3], "--json").stdout)["verdict"]
    done = invoke(*arguments)
    assert done.stdout == f"{verdict}\n\nCSV: all.csv\nCSV: all.steps.csv\nPage: out/page.html\n"
    assert done.stderr == ""
    assert "AdamW" in (tmp_path / "out" / "page.html").read_text()
    assert json.loads(invoke(*arguments, "--json").stdout)["files"] == [
        "all.csv",
        "all.steps.csv",
        "out/page.html",
    ]


def test_without_a_page_standard_output_is_the_report_alone(adamw, muon, tmp_path):
    report = invoke("compare", adamw, muon).stdout
    done = invoke("compare", adamw, muon, "--csv", tmp_path / "all.csv")
    assert done.stdout == report
    assert done.stderr == f"CSV: {tmp_path}/all.csv\nCSV: {tmp_path}/all.steps.csv\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_report_fits_the_terminal(record_run, tmp_path, columns):
    paths = [
        record_run(f"{name}-{seed}", (4.5, 4.0 + seed / 7), optimizer=name, seed=seed)
        for name in ("AdamW", "AdaRMSuon")
        for seed in (1, 2, 3)
    ]
    for options in ([], ["--html", "page.html"]):
        lines = lines_on_a_terminal(["compare", *paths, *options], columns, tmp_path)
        assert any("AdaRMSuon" in line for line in lines)
        assert max(map(len, lines)) <= min(columns, 100)


def lines_on_a_terminal(arguments, columns, folder):
    """The lines that a command prints on a terminal of so many columns."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], cwd=folder, stdout=slave, stderr=subprocess.PIPE, env=environment
    )
    os.close(slave)
    output = b""
    with contextlib.suppress(OSError):  # Linux's end of a terminal
        while part := os.read(master, 4096):
            output += part
    os.close(master)
    assert process.wait(timeout=100) == 0, process.stderr.read()
    return output.decode().replace("\r\n", "\n").split("\n")


def test_without_tensorboard_a_report_writes_nothing(adamw, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    before = {path: path.read_bytes() for path in sorted(adamw.rglob("*")) if path.is_file()}
    message = error_of(
        "report", adamw, "--csv", tmp_path / "a.csv", "--html", "--tensorboard", tmp_path / "events"
    )
    assert "pip install 'arsbench[tensorboard]'" in message
    assert {path: path.read_bytes() for path in sorted(adamw.rglob("*")) if path.is_file()} == before
    assert not list(tmp_path.glob("a*.csv"))
    error_of(
        "report", "--from-markdown", SEED_REPORT, "--out", tmp_path / "new", "--tensorboard", tmp_path / "e"
    )
    assert not (tmp_path / "new").exists()


def test_a_report_with_everything(adamw, tmp_path):
    pytest.importorskip("tensorboard")
    done = invoke(
        *("report", adamw, "--html", "--plots", adamw / "plots", "--csv", tmp_path / "a.csv", "--json"),
        *("--tensorboard", tmp_path / "events"),
    )
    data = json.loads(done.stdout)
    assert (data["name"], data["state"], len(data["epochs"]), len(data["steps"])) == (
        "adamw",
        "finished",
        2,
        2,
    )
    files = [Path(path) for path in data["files"]]
    assert files[0] == adamw / "summary.md"
    assert {"report.html", "a.csv", "a.steps.csv", "events.out.tfevents.arsbench"} <= {
        path.name for path in files
    }
    assert all(path.is_file() for path in files)
    summary = files[0].read_text()
    assert summary.startswith("# ARS-Bench Experiment Report\n")
    assert "](<plots/" in summary
    assert invoke("report", adamw).stdout == f"{files[0]}\n"
    assert "](<" not in files[0].read_text()


def test_a_report_with_pictures_can_be_read_back(adamw, tmp_path):
    invoke("report", adamw, "--plots", tmp_path / "plots")
    invoke(
        "report",
        "--from-markdown",
        adamw / "summary.md",
        "--out",
        tmp_path / "back",
        "--csv",
        tmp_path / "b.csv",
    )
    assert len(RunFolder.open(tmp_path / "back").epochs()) == 2
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 3


def test_the_report_of_a_suite_is_its_comparison(adamw, muon, tmp_path):
    runs = [
        {
            "name": path.name,
            "contender": path.name,
            "folder": path.name,
            "config": {"experiment": {"seed": 1, "tasks": ["wikitext2_line"]}},
        }
        for path in (adamw, muon)
    ]
    plan = {"name": "pair", "task": "wikitext2_line", "baseline": "muon", "tuning": None, "runs": runs}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert invoke("report", tmp_path).stdout == f"{tmp_path / 'summary.md'}\n"
    assert (tmp_path / "summary.md").read_text().startswith("# ARS-Bench Suite pair\n")
    data = json.loads(invoke("report", tmp_path, "--json", "--html").stdout)
    assert data["baseline"] == "muon"
    assert data["files"] == [str(tmp_path / "summary.md"), str(tmp_path / "report.html")]


def test_report_takes_a_folder_and_nothing_else(adamw):
    assert "not a directory" in error_of("report", SEED_REPORT, "--json")
    invoke("report", code=2)
    invoke("report", adamw, "--out", "x", code=2)
