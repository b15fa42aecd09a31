"""Suites as they run: what is kept, continued, refused and recorded."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from arsbench_cli.main import cli
from click.testing import CliRunner
from safetensors.torch import load_file

from arsbench import analysis
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder
from arsbench.runs.lock import is_locked, locked
from arsbench.suite import SuiteFolder, read_suite, run_suite, suite_status

COMMAND = [sys.executable, "-c", "from arsbench_cli.main import main; main()", "suite", "run"]
PACKAGE = """
import torch

class Broken(torch.optim.SGD):
    def step(self, closure=None):
        {body}

class Jolted(torch.optim.AdamW):
    "Its weights are all multiplied by 100 after ten steps."

    def step(self, closure=None):
        loss = super().step(closure)
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 10:
            with torch.no_grad():
                for group in self.param_groups:
                    torch._foreach_mul_(group["params"], 100.0)
        return loss
"""
FIXED = PACKAGE.format(body="return super().step(closure)")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(max((run / "checkpoints").glob("step-*")) / "model.safetensors")


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def steps(run: Path) -> int:
    path = run / "steps.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def begin(source: str, out: Path, *options: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, source, "--out", str(out), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pid_of(suite: Path, job: str) -> int:
    """Of the worker that is at it now."""
    lines = (suite / "logs" / f"{job}.log").read_text().splitlines()
    return int([line for line in lines if line.startswith("process ")][-1].split()[1])


def test_runs_failures_and_going_on(write_suite, tmp_path, observer, monkeypatch):
    """One contender raises, two diverge: the rest is finished, and only what is missing is run again."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    package = tmp_path / "their_package.py"
    package.write_text(PACKAGE.format(body="raise RuntimeError('no luck\\ntoday')"))
    text = (
        'name = "mixed"\nconfig = "tiny.json"\nseeds = [1]\nbaseline = "AdamW"\n[set]\ntrain.epochs = 1\n'
        '[contenders.AdamW]\nname = "AdamW"\n'
        '[contenders.Broken]\nname = "their_package:Broken"\nlr = 0.1\n'
        '[contenders.SGD]\nname = "torch.optim:SGD"\nlr = 1e30\n'
        '[contenders.Jolted]\nname = "their_package:Jolted"\nlr = 1e-3\n'
    )
    suite, out = read_suite(write_suite(text)), tmp_path / "out"
    outcome = run_suite(suite, out, workers=2, threads=1, observer=observer)
    assert (outcome.done, outcome.total) == (3, 4)
    assert outcome.diverged == ("sgd-seed-1", "jolted-seed-1")
    assert any(text.startswith("jolted-seed-1: done in") for text in observer.messages)
    assert any(text.endswith("s, diverged at step 11") for text in observer.messages)
    message = f"RuntimeError: no luck today ({package}, line 6)"
    assert outcome.failures == {"broken-seed-1": message}
    assert RunFolder.open(out / "runs" / "broken" / "seed-1").status == {
        "state": "failed",
        "step": 0,
        "message": message,
    }
    assert "Traceback" in (out / "logs" / "broken-seed-1.log").read_text()
    assert {run.name: run.state for run in analysis.load([out])} == {
        "adamw-seed-1": "finished",
        "broken-seed-1": "failed",
        "sgd-seed-1": "non_finite",
        "jolted-seed-1": "finished",
    }
    shown = CliRunner().invoke(cli, ["suite", "status", str(out)], catch_exceptions=False).stdout
    assert re.search(r"^jolted-seed-1 +finished, diverged at step 11 ", shown, re.MULTILINE)
    assert f"failed: broken-seed-1: {message}" in shown.splitlines()
    assert [run["diverged_at"] for run in suite_status(out)["runs"]] == [None, None, None, 11]
    assert observer.snapshots[-1].failed == 1
    assert (out / "runs" / "adamw" / "seed-1" / "summary.md").is_file()

    package.write_text(FIXED)
    kept = out / "runs" / "adamw" / "seed-1"
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    more = read_suite(write_suite(text.replace("seeds = [1]", "seeds = [1, 2]")))
    outcome = run_suite(more, out, workers=2, threads=1, observer=observer)
    assert (outcome.done, outcome.total, outcome.failures) == (8, 8, {})
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before

    for old, new, problem in (
        ("epochs = 1", "epochs = 2", "only seeds may be added"),
        ("[1]", "[2]", r"seeds that the suite no longer lists \(1\); add them again"),
    ):
        changed = read_suite(write_suite(text.replace(old, new)))
        with pytest.raises(UserError, match=problem):
            run_suite(changed, out, workers=1, threads=1, observer=observer)
    other = read_suite(write_suite(text.replace("mixed", "other")))
    with pytest.raises(
        UserError, match="holds the suite 'mixed'; run 'other' elsewhere, or choose another folder"
    ):
        run_suite(other, out, workers=1, threads=1, observer=observer)


@pytest.mark.slow
def test_a_killed_worker_and_ctrl_c_lose_nothing(write_suite, tmp_path, observer):
    """Killed, stopped and continued, the runs compute the bits of runs that nobody disturbed."""
    contenders = '[contenders.AdamW]\nname = "AdamW"\n[contenders.ARS]\n'
    text = 'name = "s"\nconfig = "tiny.json"\nseeds = [1]\n' + contenders
    source = write_suite(text, epochs=8, ckpt_every_steps=3)
    out = tmp_path / "out"
    adamw, ars = (out / "runs" / name / "seed-1" for name in ("adamw", "ars"))

    process = begin(source, out, "--workers", "1")  # the second run begins after the first's end
    wait_for(lambda: steps(adamw) > 5, process)
    os.kill(pid_of(out, "adamw-seed-1"), signal.SIGKILL)
    wait_for(lambda: steps(ars) > 5, process)
    assert suite_status(out)["at_work"]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Resume with: arsbench suite run" in output
    facts = suite_status(out)
    assert {run["name"]: run["state"] for run in facts["runs"]} == {
        "adamw-seed-1": "failed",
        "ars-seed-1": "interrupted",
    }
    assert "SIGKILL" in facts["failures"]["adamw-seed-1"]
    saved = RunFolder.open(ars).status["step"]
    assert 5 < saved < facts["runs"][1]["steps"]

    process = begin(source, out, "--workers", "1")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert f"step {saved} of" in (out / "logs" / "ars-seed-1.log").read_text()
    undisturbed = run_suite(read_suite(source), tmp_path / "whole", workers=2, threads=1, observer=observer)
    assert undisturbed.done == 2
    for run in (adamw, ars):
        theirs = weights(tmp_path / "whole" / run.relative_to(out))
        assert all(torch.equal(value, theirs[name]) for name, value in weights(run).items())


@pytest.mark.slow
def test_a_killed_parent_takes_its_workers_along(write_suite, tmp_path):
    source = write_suite(epochs=400)
    out = tmp_path / "out"
    process = begin(source, out, "--workers", "1")
    run = out / "runs" / "adamw" / "seed-1"
    wait_for(lambda: steps(run) > 2, process)
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while is_locked(out):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert RunFolder.open(run).status["state"] == "interrupted"


def test_folders_that_are_refused(write_suite, tmp_path, observer):
    suite = read_suite(write_suite())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="is not empty and is not a suite folder"):
        run_suite(suite, tmp_path / "full", workers=1, threads=1, observer=observer)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "busy").mkdir()
    with (
        locked(tmp_path / "busy"),
        pytest.raises(UserError, match=r"another process \(pid \d+ on .* is writing"),
    ):
        run_suite(suite, tmp_path / "busy", workers=1, threads=1, observer=observer)
    with pytest.raises(UserError, match="is not a suite folder"):
        suite_status(tmp_path / "full")


ONE = 'name = "s"\nconfig = "tiny.json"\nseeds = [1]\n[contenders.AdamW]\nname = "AdamW"\n'


def test_a_start_that_was_killed_can_be_repeated(write_suite, tmp_path, observer):
    """It leaves its lock, and perhaps what it had written of the plan."""
    out = tmp_path / "out"
    out.mkdir()
    for name in (".lock", ".plan.json.abcd1234"):
        (out / name).write_text("{")
    assert run_suite(read_suite(write_suite(ONE, epochs=1)), out, threads=1, observer=observer).done == 1
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "plan.json").write_text('{"Monday": "run"}')
    with pytest.raises(UserError, match=r"plan\.json is damaged: name is missing"):
        run_suite(read_suite(write_suite(ONE, epochs=1)), tmp_path / "theirs", observer=observer)


def test_a_run_that_somebody_resumes_by_hand_is_left_to_them(write_suite, tmp_path, observer):
    suite, out = read_suite(write_suite(ONE, epochs=1)), tmp_path / "out"
    path = out / "runs" / "adamw" / "seed-1"
    path.mkdir(parents=True)
    SuiteFolder(out).plan(suite, {"AdamW": 10}, 1)
    with locked(path):
        outcome = run_suite(suite, out, workers=1, threads=1, observer=observer)
    assert f"another process (pid {os.getpid()} on" in outcome.failures["adamw-seed-1"]
    assert run_suite(suite, out, workers=1, threads=1, observer=observer).failures == {}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL (out of memory?)"),
        ("raise SystemExit(3)", "the preparation failed: its process ended with exit code 3"),
        ("import sys; sys.stderr.write('no luck'); sys.exit(3)", "the preparation failed: no luck"),
    ],
)
def test_a_preparation_that_ends_badly_says_how(write_suite, tmp_path, observer, monkeypatch, script, words):
    (tmp_path / "their_package.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    text = 'name = "s"\nconfig = "tiny.json"\nseeds = [1]\n[contenders.A]\nname = "their_package:A"\n'
    with pytest.raises(UserError) as error:
        run_suite(read_suite(write_suite(text)), tmp_path / "out", threads=1, observer=observer)
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


def test_what_was_begun_goes_on_alike(write_suite, tmp_path, observer):
    """With as many threads as before; and a process that broke after its run's end has broken nothing."""
    suite, out = read_suite(write_suite(ONE, epochs=1)), tmp_path / "out"
    assert run_suite(suite, out, observer=observer, threads=2).done == 1
    folder = SuiteFolder.open(out)
    assert RunFolder.open(folder.runs[0].path).environment["threads"] == 2
    with pytest.raises(UserError, match="uses 2 threads per run, and 1 would change the results bitwise"):
        run_suite(suite, out, observer=observer, threads=1)
    folder.record_failure("adamw-seed-1", "its process was ended by SIGKILL", -9)
    assert run_suite(suite, out, observer=observer).failures == {}
    assert [run.state for run in analysis.load([out])] == ["finished"]

    path = folder.runs[0].path
    (path / "status.json").unlink()
    outcome = run_suite(suite, out, observer=observer)
    assert (
        "has lost its status.json; restore it, or delete the run's folder" in outcome.failures["adamw-seed-1"]
    )
    assert list((path / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("contender", "words"),
    [
        ('name = "AdamV"', "package.module:Class; did you mean 'AdamW'?"),
        ('name = "torch.optim:SGD"\nmomentun = 1', "contender 'A': SGD does not take optimizer.momentun"),
        ('name = "no_such_package:X"', "cannot be imported"),
    ],
)
def test_an_optimizer_that_cannot_be_made_leaves_no_folder(write_suite, tmp_path, observer, contender, words):
    text = f'name = "s"\nconfig = "tiny.json"\nseeds = [1]\n[contenders.A]\n{contender}\n'
    with pytest.raises(UserError, match="contender 'A'") as error:
        run_suite(read_suite(write_suite(text)), tmp_path / "out", workers=1, threads=1, observer=observer)
    assert words in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_run_folder_half_made_is_made_again(write_suite, tmp_path, observer):
    suite, out = read_suite(write_suite(ONE, epochs=1)), tmp_path / "out"
    half = out / "runs" / "adamw" / "seed-1"
    SuiteFolder(out).plan(suite, {"AdamW": 10}, 1)
    half.mkdir(parents=True)
    (half / "steps.jsonl").touch()
    (half / "config.json").write_text("{")
    assert suite_status(out)["runs"][0]["state"] == "waiting"
    assert run_suite(suite, out, workers=1, threads=1, observer=observer).done == 1
    assert suite_status(out)["runs"][0]["state"] == "finished"

    def show(*arguments):
        result = CliRunner().invoke(cli, ["suite", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout

    (row,) = json.loads(show("status", str(out), "--json"))["runs"]
    assert (row["metric"], row["step"]) == ("loss", row["steps"])
    status = show("status", str(out))
    assert status.startswith("s: wikitext2_line (tiny), not running\n")
    assert "adamw-seed-1  finished" in status
    shown = show("run", str(tmp_path / "suite.toml"), "--out", str(out))
    assert "1 of 1 runs are done" in shown
    assert "there is nothing to compare it with" in shown  # the verdict
    assert "## Results" in (out / "summary.md").read_text()
    assert "<h1>" in (out / "report.html").read_text()
    assert "[contenders.AdamW]" in show("presets", "demo-optimizers")
    assert "grokking" in show("presets")
    assert json.loads(show("presets", "grokking", "--json"))["config"] == "mod_addition"
