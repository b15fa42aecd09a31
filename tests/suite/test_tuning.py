"""Tuning: as many trials for each contender, none of them on the comparison's seeds."""

import os
import re
import signal
from pathlib import Path

import pytest

from arsbench import analysis
from arsbench.analysis import checks, contenders
from arsbench.errors import UserError
from arsbench.metrics import METRICS
from arsbench.runs.folder import RunFolder
from arsbench.runs.json_files import drop_torn_line
from arsbench.suite import SuiteFolder, read_suite, run_suite, suite_status, trial, tuning
from arsbench.suite.search import Choices, Range
from arsbench.suite.trial import _cost
from arsbench.suite.tuning import open_study, reopen_trial, suggest

from .test_run import FIXED, begin, pid_of, steps, wait_for

SEARCH = "search.lr = { low = 1e-4, high = 1e-2, log = true }\n"
TUNING = "[tuning]\ntrials = 2\nseeds = [101]\nset.train.epochs = 1\n"
ONE = (
    'name = "tuned"\nconfig = "tiny.json"\nseeds = [1]\n[contenders.AdamW]\nname = "AdamW"\n'
    + SEARCH
    + "search.betas = [[0.9, 0.95], [0.9, 0.99]]\n"
)
METRIC = METRICS["wikitext2_line"][0]


def states(folder: SuiteFolder, contender: str) -> list[str]:
    study = open_study(folder.path / "tuning" / contender, METRIC, 2)
    return [trial.state.name for trial in study.trials]


def test_the_best_values_become_the_comparisons(write_suite, tmp_path, observer):
    suite, out = read_suite(write_suite(ONE + TUNING, epochs=2)), tmp_path / "out"
    assert run_suite(suite, out, workers=2, threads=1, observer=observer).done == 1
    folder = SuiteFolder.open(out)
    found = folder.tuning["contenders"]["AdamW"]
    assert (folder.tuning["trials"], folder.tuning["seeds"], found["trials"]) == (2, [101], 2)
    trials = [RunFolder.open(path) for path in sorted((out / "tuning" / "adamw").glob("trial-*/seed-101"))]
    assert len(trials) == 2
    assert found["steps"] == found["passes"] == sum(run.epochs()[-1]["step"] for run in trials)
    best = min(trials, key=lambda run: METRIC.value(run.epochs()[-1]))
    assert found["value"] == METRIC.value(best.epochs()[-1])
    (run,) = folder.runs
    chosen = RunFolder.open(run.path).config
    for key, value in found["best"].items():
        assert chosen["optimizer"][key] == best.config["optimizer"][key] == value
    assert (chosen["experiment"]["seed"], chosen["train"]["epochs"]) == (1, 2)
    assert [one.config["train"]["epochs"] for one in trials] == [1, 1]
    assert not any(one.checkpoints.exists() for one in trials)

    before = (out / "tuning" / "adamw" / "journal.log").read_bytes()
    assert run_suite(suite, out, workers=2, threads=1, observer=observer).done == 1
    assert (out / "tuning" / "adamw" / "journal.log").read_bytes() == before
    assert suite_status(out)["tuning"] == folder.tuning


def test_contenders_that_only_diverge_are_left_out(write_suite, tmp_path, observer, monkeypatch):
    """One at numbers that are not finite, the other at finite ones."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "their_package.py").write_text(FIXED)
    text = (
        ONE
        + '[contenders.Wild]\nname = "torch.optim:SGD"\nsearch.lr = { low = 1e30, high = 1e31 }\n'
        + '[contenders.Jolted]\nname = "their_package:Jolted"\n'
        + SEARCH
        + TUNING
    )
    out = tmp_path / "out"
    outcome = run_suite(read_suite(write_suite(text, epochs=1)), out, workers=2, observer=observer)
    assert (outcome.done, outcome.total) == (1, 1)
    tuned = SuiteFolder.open(out).tuning["contenders"]
    runs = analysis.load([out])
    assert list(contenders.tuning(runs)) == ["AdamW", "Wild", "Jolted"]
    for name in ("Wild", "Jolted"):
        assert "none of its 2 trials finished without diverging" in outcome.failures[f"{name.lower()}-tuning"]
        assert (tuned[name]["trials"], tuned[name]["non_finite"], tuned[name]["best"]) == (2, 2, None)
        assert tuned[name]["steps"] == tuned[name]["passes"] > 0
        left_out = f"{name} is left out: all of its tuning trials diverged."
        assert left_out in checks.warnings(runs)
    assert tuned["AdamW"]["non_finite"] == 0


def test_trials_run_to_their_end(parse):
    """The last value of a run that stops at a target says nothing about its settings."""
    text = ONE.replace("[contenders", "[set]\ntrain.stop_at = 3.5\n[contenders", 1) + TUNING
    suite = parse(text)
    (contender,) = suite.contenders
    assert contender.config(1).train.stop_at == 3.5
    assert contender.config(101, changes=suite.tuning.changes).train.stop_at is None
    with pytest.raises(UserError, match="trials are judged by their last value"):
        parse(text + "set.train.stop_at = 3.0\n")


def test_a_journal_that_was_cut_off_or_damaged(tmp_path):
    study = open_study(tmp_path, METRIC, 2)
    study.tell(study.ask(), 1.0)
    journal = tmp_path / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "wor')
    drop_torn_line(journal)
    assert journal.read_bytes() == whole
    drop_torn_line(tmp_path / "nowhere")
    assert len(open_study(tmp_path, METRIC, 2).trials) == 1
    journal.write_bytes(b"{cut\n" + whole)
    with pytest.raises(UserError, match=r"journal\.log is damaged .*; restore the file"):
        open_study(tmp_path, METRIC, 2)


def test_a_reopened_trial_keeps_its_values(tmp_path):
    """As a trial whose process was killed and that another process continues."""
    search = {"lr": Range(1e-4, 1e-2, True), "betas": Choices(([0.9, 0.95], [0.9, 0.99]))}
    open_study(tmp_path, METRIC, 4, seed=0).ask()
    drawn = suggest(open_study(tmp_path, METRIC, 4, seed=1).ask(), search)
    study = open_study(tmp_path, METRIC, 4, seed=2)
    reopened = reopen_trial(study, tmp_path, 1)
    assert (reopened.number, suggest(reopened, search)) == (1, drawn)
    study.tell(reopened, 3.0)
    assert [t.state.name for t in open_study(tmp_path, METRIC, 4).trials] == ["RUNNING", "COMPLETE"]


@pytest.mark.parametrize("module", [tuning, trial])
def test_optuna_is_used_by_its_public_names(module):
    assert not re.findall(r"(?<!self)\._[a-z]\w*", Path(module.__file__).read_text(encoding="utf-8"))


def test_what_a_diverged_trial_cost(tmp_path):
    """One epoch of ten steps, then seven more, of which two were logged: of two passes and of one."""
    run = RunFolder.create(tmp_path / "run", config={}, effective={}, environment={}, groups=[])
    epoch = {"epoch": 1, "task": "mod_addition", "step": 10}
    run.append_epoch(epoch | {"forward_backward_passes": 14, "epoch_seconds": 5.0})
    for step, passes in ((10, 1), (12, 2), (14, 1)):
        run.append_step({"step": step, "forward_backward_passes": passes, "seconds": 0.5})
    run.set_status("non_finite", 17)
    assert _cost([run.path, tmp_path / "none"]) == {
        "steps": 17,
        "passes": 14 + 7 * 1.5,
        "seconds": 5.0 + 7 * 0.5,
    }
    run.set_status("running", 0)  # of a trial that was pruned at its epoch's end
    assert _cost([run.path])["steps"] == 10


def test_without_optuna_it_names_the_extra(write_suite, tmp_path, observer, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    suite = read_suite(write_suite(ONE + TUNING))
    with pytest.raises(UserError, match=r"pip install arsbench\[tuning\]"):
        run_suite(suite, tmp_path / "out", workers=1, threads=1, observer=observer)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_killed_and_stopped_trials_are_continued_and_all_get_as_many(write_suite, tmp_path):
    text = ONE + "[contenders.ARS]\n" + SEARCH + TUNING.replace("epochs = 1", "epochs = 8")
    source = write_suite(text, epochs=1, ckpt_every_steps=2)
    out = tmp_path / "out"
    process = begin(source, out, "--workers", "1")
    first = out / "tuning" / "adamw" / "trial-0" / "seed-101"
    wait_for(lambda: steps(first) > 4, process)
    os.kill(pid_of(out, "adamw-trial-0"), signal.SIGKILL)
    second = out / "tuning" / "ars" / "trial-0" / "seed-101"
    wait_for(lambda: steps(second) > 4, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    folder = SuiteFolder.open(out)
    assert (states(folder, "adamw"), states(folder, "ars")) == (["RUNNING"], ["RUNNING"])
    drawn = RunFolder.open(first).config["optimizer"]
    with (first.parents[1] / "journal.log").open("a") as journal:
        journal.write('{"op_code": 4, "wor')
    process = begin(source, out, "--workers", "2")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    for contender in ("adamw", "ars"):
        assert set(states(folder, contender)) <= {"COMPLETE", "PRUNED"}
        assert len(states(folder, contender)) == 2
    assert {found["trials"] for found in folder.tuning["contenders"].values()} == {2}
    assert RunFolder.open(first).config["optimizer"] == drawn
    assert suite_status(out)["failures"] == {}


@pytest.mark.slow
def test_a_contender_whose_trials_all_fail_stops_before_the_comparison(
    write_suite, tmp_path, observer, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "their_package.py").write_text(
        "import torch\n\nclass Broken(torch.optim.SGD):\n    def step(self, closure=None):\n        1 / 0\n"
    )
    text = ONE + '[contenders.Broken]\nname = "their_package:Broken"\n' + SEARCH + TUNING
    outcome = run_suite(
        read_suite(write_suite(text)), tmp_path / "out", workers=2, threads=1, observer=observer
    )
    assert outcome.done == 0
    assert len(outcome.failures) == 2
    for message in outcome.failures.values():
        assert re.fullmatch(r"ZeroDivisionError: division by zero \(.*their_package\.py, line 5\)", message)
    assert states(SuiteFolder(tmp_path / "out"), "broken") == ["RUNNING", "RUNNING"]
