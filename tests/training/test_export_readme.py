"""README.md of an export: the run's figures, and programs that give them again."""

import re
import subprocess
import sys

import pytest

from arsbench import training
from arsbench.runs.folder import RunFolder


@pytest.fixture
def exported(tiny, tmp_path):
    """A run's records and the README of its export, made by `exported(train)`."""

    def export(train, **event):
        run = train(tiny, tmp_path / "my run", **event).run
        training.export_run(run, tmp_path / "hf", pytest.fail)
        return run, (tmp_path / "hf" / "README.md").read_text(encoding="utf-8")

    return export


def blocks(readme, language):
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def test_it_has_the_figures_of_the_exported_weights_and_the_commands(train, exported, tmp_path):
    run, readme = exported(train)
    evaluation = run.epochs()[-1]["evaluation"]
    for split in ("validation", "test"):
        for protocol in ("strict", "seed"):
            loss = evaluation[split][protocol]["loss"]
            assert f"| {split} | {protocol} | loss | {loss:.6f} |" in readme
        assert f"arsbench eval '{tmp_path / 'my run'}' --split {split}\n" in readme
    assert "wikitext2_line (tiny), trained with ARS" in readme
    assert "$" not in readme


def test_figures_of_other_weights_are_left_out(train, exported):
    _, readme = exported(train, interrupt_after=7)
    assert "after step 7," in readme
    assert "The run was not evaluated at this step." in readme
    assert "| strict |" not in readme


@pytest.mark.slow
def test_its_programs_give_the_figures_of_the_run(train, exported, tmp_path):
    run, readme = exported(train)
    (_, convert), (program,) = blocks(readme, "bash"), blocks(readme, "python")
    subprocess.run(
        ["bash", "-c", convert.replace("python -", f"{sys.executable} -")], cwd=tmp_path, check=True
    )
    (tmp_path / "losses.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "losses.py", "hf", "validation.txt"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    losses = dict(re.findall(r"(\w+) loss ([\d.]+)", done.stdout))
    recorded = RunFolder.open(run.path).epochs()[-1]["evaluation"]["validation"]
    assert losses.keys() == {"strict", "seed"}
    for protocol, loss in losses.items():
        assert float(loss) == pytest.approx(recorded[protocol]["loss"], abs=1e-4)
