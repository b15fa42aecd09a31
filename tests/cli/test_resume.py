"""`arsbench resume`: a run continues with its stored configuration; and `python -m arsbench`."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from arsbench import __version__
from arsbench.runs.folder import RunFolder


def weights(run):
    return load_file(max((run / "checkpoints").glob("step-*")) / "model.safetensors")


@pytest.fixture
def run(invoke, write_config, modular, tmp_path):
    """A finished run of four epochs; its configuration file is gone."""
    path = write_config(modular)
    code, _, error = invoke("train", path, "--out", "run")
    assert code == 0, error
    (tmp_path / "tiny.json").unlink()
    return tmp_path / "run"


def test_a_finished_run_has_nothing_to_resume(run, invoke):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    code, output, error = invoke("resume", "run")
    assert (code, error) == (0, "")
    assert output == (
        "run is finished after step 24; there is nothing to resume.\n"
        "To train longer, raise train.epochs: arsbench resume run --set train.epochs=5\n"
    )
    assert invoke("resume", "run", "--set", "train.epochs=4")[1] == output
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_more_epochs_are_bitwise_those_of_an_undisturbed_run(run, invoke, write_config, modular, tmp_path):
    code, _, error = invoke("resume", "run", "--set", "train.epochs=6")
    assert (code, error) == (0, "")
    stored = RunFolder.open(run)
    assert (stored.config["train"]["epochs"], stored.status["state"], len(stored.epochs())) == (
        6,
        "finished",
        6,
    )
    path = write_config(modular)
    assert invoke("train", path, "--set", "train.epochs=6", "--out", "whole")[0] == 0
    whole = weights(tmp_path / "whole")
    assert all(torch.equal(value, whole[name]) for name, value in weights(run).items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resume", "nowhere"), "nowhere does not exist; give the folder of a run"),
        (("resume", "run", "--set", "optimizer.lr=1"), "optimizer.lr was 0.003 and is now 1"),
        (("resume", "run", "--set", "train.epochs=3"), "train.epochs was 4 and is now 3"),
        (("resume", "run", "--set", "train.epoch=6"), "did you mean 'train.epochs'?"),
    ],
)
def test_what_is_refused(run, invoke, arguments, words):
    code, output, error = invoke(*arguments)
    assert (code, output) == (2, "")
    assert error.startswith("Error: ")
    assert words in error
    assert error.count("\n") == 1


def test_a_damaged_configuration_is_named(run, invoke):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"model": {"num_layers": "many"}}))
    code, _, error = invoke("resume", "run")
    assert code == 2
    assert error.startswith("Error: run/config.json is damaged: model.num_layers is 'many'")


def test_the_package_is_a_program():
    done = subprocess.run([sys.executable, "-m", "arsbench", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"arsbench, version {__version__}\n")
