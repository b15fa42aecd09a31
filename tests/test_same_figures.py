"""What same_figures.py sees between the folders of two versions, and what it allows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("same_figures.py")
STEPS = [{"step": 1, "loss": 6.25, "seconds": 0.5}, {"step": 2, "loss": float("nan"), "seconds": 0.4}]


def write(folder, steps, weights=b"weights"):
    run = folder / "runs" / "demo"
    (run / "checkpoints" / "step-00000002").mkdir(parents=True)
    (run / "steps.jsonl").write_text("".join(f"{json.dumps(step)}\n" for step in steps))
    (run / "checkpoints" / "step-00000002" / "model.safetensors").write_bytes(weights)


@pytest.fixture
def compare(tmp_path):
    """Compare the folder of `STEPS` with another; returns exit code and output."""
    write(tmp_path / "before", STEPS)

    def compare(steps=STEPS, weights=b"weights", *options):
        write(tmp_path / "after", steps, weights)
        command = [sys.executable, SCRIPT, "compare", tmp_path / "before", tmp_path / "after", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return compare


def test_times_and_new_figures_may_differ(compare):
    code, output = compare([{**step, "seconds": 9.0, "loss_strict": 5.0} for step in STEPS])
    assert (code, "new in steps.jsonl: loss_strict" in output, "identical" in output) == (0, True, True)


@pytest.mark.parametrize(
    ("steps", "weights", "difference"),
    [
        ([{**STEPS[0], "loss": 6.250000000000001}, STEPS[1]], b"weights", "[0].loss is 6.250000000000001"),
        ([STEPS[0], {**STEPS[1], "loss": 3.0}], b"weights", "[1].loss is 3.0 instead of nan"),
        ([STEPS[0], {"step": 2}], b"weights", "[1].loss is missing"),
        (STEPS[:1], b"weights", "has 1 entries instead of 2"),
        (STEPS, b"weightz", "has other weights"),
    ],
)
def test_any_other_difference_fails(compare, steps, weights, difference):
    code, output = compare(steps, weights)
    assert code == 1
    assert difference in output


def test_an_intended_difference_can_be_left_out(compare):
    code, output = compare([{**step, "loss": 1.0} for step in STEPS], b"weights", "--ignore", "loss")
    assert code == 0, output
