"""The presets at their real size, from text to report; minutes rather than seconds."""

import json
from pathlib import Path

import pytest

from arsbench.runs.folder import RunFolder

SEED_REPORT = Path(__file__).parents[1] / "report" / "seed_report.md"

pytestmark = pytest.mark.slow


def test_the_seeds_block_as_it_stands_needs_only_a_device(arsbench, texts, tmp_path, monkeypatch):
    for file in texts.iterdir():  # rows of 256 tokens: the tiny texts do not fill a batch
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8") * 4, encoding="utf-8")
    monkeypatch.setenv("ARSBENCH_WIKITEXT2", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    block = SEED_REPORT.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0]
    (tmp_path / "seed.json").write_text(block)
    steps = ("--set", "train.max_steps=6")  # a whole cycle of the period, and the next sync
    done = arsbench("train", "seed.json", "--set", "experiment.device=cpu", *steps, timeout=900)
    assert done.returncode == 0, done.stderr
    run = RunFolder.open(tmp_path / "runs" / "seed")
    given = json.loads(block)
    given["experiment"]["device"] = "cpu"
    given["train"]["max_steps"] = 6
    assert run.config == given
    matrices, _ = run.groups
    assert (matrices["tensors"], matrices["parameters"]) == (28, 18_874_368)
    (epoch,) = run.epochs()
    assert epoch["forward_backward_passes"] == 8
    seed_header = next(
        line for line in SEED_REPORT.read_text(encoding="utf-8").splitlines() if "Epoch" in line
    )
    assert seed_header in (run.path / "summary.md").read_text(encoding="utf-8").splitlines()


def test_the_demo_learns_english(arsbench, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done = arsbench("train", "demo", "--set", "train.max_steps=60", timeout=900)
    assert done.returncode == 0, done.stderr
    run = RunFolder.open(tmp_path / "runs" / "demo")
    (epoch,) = run.epochs()
    # An untrained model is at ln 4096 = 8.3; one that knows only how often each token occurs stays above 6.
    assert epoch["evaluation"]["validation"]["strict"]["loss"] < 6.2
    assert (run.path / "summary.md").exists()
    assert arsbench("sample", "runs/demo", "--prompt", "Return the").stdout.startswith("Return the")
