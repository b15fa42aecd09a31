"""Training with the compiled kernels against training with the references, from the same seed."""

import os
import subprocess
import sys

import pytest

from arsbench import _native
from arsbench.runs.folder import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not _native.build_info()["native"], reason="arsbench was installed without its compiled module"
    ),
]

STEPS = 100
START = "from arsbench_cli.main import main; main()"
# The reference of Newton-Schulz rounds to bfloat16, the kernel may not: with both in float32, what remains is
# the order of additions.
EXACT = (
    "from arsbench.ops.reference import newton_schulz; newton_schulz.iteration_dtype = lambda dtype: dtype; "
)
REFERENCES = {"ARSBENCH_NATIVE": "0"}
# At 1e-8 whitening turns gradients that are nothing but rounding into full steps, and runs part at once.
EPS = ["--set", "optimizer.eps=1e-5", "--set", "optimizer.adam_eps=1e-5"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """100 steps of the preset `demo` at a larger ε: with kernels, with references, with kernels in bf16."""
    folder = tmp_path_factory.mktemp("kernels")
    variants = {
        "kernels": (START, [], {"ARSBENCH_BF16_PRODUCTS": "0"}),
        "references": (START, [], REFERENCES),
        "exact references": (EXACT + START, [], REFERENCES),
        "bf16": (START, ["--set", "train.precision=bf16"], {}),
    }
    for name, (script, options, environment) in variants.items():
        arguments = ["train", "demo", "--out", name, "--set", f"train.max_steps={STEPS}"]
        arguments += ["--set", "train.log_every=1", "--set", "experiment.device=cpu", *EPS, *options]
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "2"} | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return {name: RunFolder.open(folder / name) for name in variants}


def losses(run):
    return [record["loss"] for record in run.steps()]


def final_loss(run):
    return run.epochs()[-1]["evaluation"]["validation"]["strict"]["loss"]


def test_they_are_what_they_are_called(runs):
    assert set(runs["kernels"].environment["backends"].values()) == {"CPU kernel"}
    for name in ("references", "exact references"):
        assert set(runs[name].environment["backends"].values()) == {"reference"}


def test_float32_losses_agree(runs):
    mine, theirs = losses(runs["kernels"]), losses(runs["exact references"])
    assert len(mine) == len(theirs) == STEPS
    for step in range(20):
        assert abs(mine[step] - theirs[step]) <= 1e-4 * theirs[step], f"step {step + 1}"
    # Rounding errors grow from step to step; other seeds end further apart than that.
    for name in ("exact references", "references"):
        assert abs(final_loss(runs["kernels"]) - final_loss(runs[name])) <= 0.02, name


def test_bf16_ends_where_float32_does(runs):
    """Rounding products to bfloat16 was 0.021 at the end where it was most, on an AMD EPYC with AVX2."""
    assert abs(final_loss(runs["bf16"]) - final_loss(runs["kernels"])) <= 0.04
