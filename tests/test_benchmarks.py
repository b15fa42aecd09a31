"""Benchmarks start as scripts and as modules, and name what they lack. Their figures are not tested."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


def python(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def test_a_benchmark_starts_as_a_script_in_any_folder(tmp_path):
    done = python(ROOT / "benchmarks" / "training_step.py", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--rounds" in done.stdout


# One process imports all of them: each would import torch again.
def test_every_benchmark_can_be_a_script():
    code = """
import runpy, sys
sys.path[0] = "benchmarks"  # as for `python benchmarks/X.py`
for script in sys.argv[1:]:
    assert "main" in runpy.run_path(script, run_name="imported")
"""
    done = python("-c", code, *SCRIPTS)
    assert len(SCRIPTS) >= 8
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("benchmark", "lack", "sentence"),
    [
        (
            "training_step",
            "sys.modules['transformers'] = None",
            "transformers is not installed; run `pip install --group bench` in the repository or "
            "`pip install transformers`",
        ),
        ("gpu", "torch.cuda.is_available = lambda: False", "torch sees no GPU; run this benchmark on"),
        (
            "rope_attention",
            "ops.backends = lambda device: {'linear': 'reference'}",
            "no compiled kernel for linear",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_is_measured(benchmark, lack, sentence):
    start = f"from benchmarks.{benchmark} import main; main()"
    done = python("-c", f"import sys, torch; from arsbench import ops; {lack}; {start}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_module_refuses_a_plot_of_an_unsupported_format(tmp_path):
    done = python("-m", "benchmarks.sweep", "--plot", tmp_path / "sweep.pdf")
    assert done.returncode == 2
    assert "sweep.pdf must end in .png or .svg" in done.stderr
