"""The examples run as their first lines say, with sizes of a few seconds."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from arsbench_cli.main import cli
from click.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run an example in an empty folder, as `python NAME ARGUMENTS` would, and return what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with torch.random.fork_rng():
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def figures(name, output):
    return [float(value) for value in re.findall(rf"{name} ([\d.]+)", output)]


def test_minimal_learns_from_a_text(run, tmp_path):
    (tmp_path / "text.txt").write_text("The quick brown fox jumps over the lazy dog. " * 100)
    sizes = [
        "--steps",
        "100",
        "--batch",
        "4",
        "--length",
        "32",
        "--width",
        "32",
        "--heads",
        "2",
        "--layers",
        "1",
    ]
    output = run("minimal.py", "text.txt", *sizes)
    assert "step 100, 120 passes" in output  # k = 5: every fifth step takes two passes
    before, after = figures("validation loss", output)
    assert after < before
    assert after < 1.5  # a uniform prediction has ln 256 = 5.5 nats/byte


def test_minimal_refuses_a_text_without_a_validation_row(run, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("short")
    with pytest.raises(SystemExit, match="2"):
        run("minimal.py", "text.txt")
    assert "text.txt has 5 bytes; it needs more than 1280" in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["ARS", "AdamW"])
def test_library_trains_with_ars_and_with_pytorchs_adamw(run, optimizer):
    sizes = ["--epochs", "2", "--images", "256", "--batch", "32", "--width", "4"]
    output = run("library.py", "--optimizer", optimizer, *sizes)
    first, second = figures("training loss", output)
    assert second < first


@pytest.fixture
def command(monkeypatch, tmp_path):
    """A command of arsbench in a folder that holds your_optimizer.py and its suite."""
    for name in ("your_optimizer.py", "your_optimizer.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as the program does with its folder
    monkeypatch.delitem(sys.modules, "your_optimizer", raising=False)

    def invoke(*arguments):
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output

    return invoke


def test_your_optimizer_trains_and_is_reported(command):
    optimizer = ("--set", "optimizer.name=your_optimizer:RowMomentum", "--set", "optimizer.lr=0.001")
    command("train", "mod_addition", *optimizer, "--set", "train.max_steps=3")
    assert "your_optimizer:RowMomentum" in Path("runs/mod_addition/summary.md").read_text()


def test_your_optimizer_scales_rows_of_matrices_and_takes_signs_of_the_rest():
    optimizer_class = runpy.run_path(str(EXAMPLES / "your_optimizer.py"))["RowMomentum"]
    matrix, bias = torch.nn.Parameter(torch.zeros(2, 4)), torch.nn.Parameter(torch.zeros(4))
    groups = [{"params": [matrix], "kind": "matrix"}, {"params": [bias], "kind": "adamw"}]
    gradient = torch.tensor([1.0, -2.0, 3.0, 0.0])
    matrix.grad, bias.grad = torch.stack([gradient, 100 * gradient]), gradient.clone()
    optimizer_class(groups, lr=0.5).step()
    torch.testing.assert_close(matrix.square().mean(1).sqrt(), torch.full((2,), 0.5))
    torch.testing.assert_close(bias.detach(), torch.tensor([-0.5, 0.5, -0.5, 0.0]))


@pytest.mark.slow
def test_a_suite_compares_your_optimizer(command):
    """The example's suite with its contenders, on a task that needs no data."""
    path = Path("your_optimizer.toml")
    head, contenders = path.read_text().split("[contenders.AdamW]")
    head = re.sub(r"(?s)\[set\].*", "[set]\ntrain.max_steps = 2\n\n", head)
    head = head.replace('config = "demo"', 'config = "mod_addition"').replace("[1, 2, 3]", "[1]")
    path.write_text(f"{head}[contenders.AdamW]{contenders}")
    command("suite", "run", "your_optimizer.toml", "--workers", "2")
    summary = Path("suites/your-optimizer/summary.md").read_text()
    assert {"AdamW", "ARS", "RowMomentum"} <= set(re.findall(r"\w+", summary))
