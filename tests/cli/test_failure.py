"""What a user sees of runs whose code raises, of runs that diverge, and of perplexities beyond any use."""

import json

import pytest
from arsbench_cli.evaluate import _number
from arsbench_cli.progress import describe, epoch_line

from arsbench.runs.folder import RunFolder

OPTIMIZER = """
import torch

class Mine(torch.optim.AdamW):
    def step(self, closure=None):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 10:
            {at_ten}
        return super().step(closure)
"""
JOLT = "[p.data.mul_(100.0) for group in self.param_groups for p in group['params']]"


@pytest.fixture
def config(modular, write_config, tmp_path):
    """Of modular addition under that optimizer; `config(at_ten)` is what it does in its tenth step."""

    def write(at_ten: str) -> str:
        # The length of the file tells Python that what it compiled before is old.
        (tmp_path / "that_raises.py").write_text(OPTIMIZER.format(at_ten=at_ten) + "#" * len(at_ten))
        modular["optimizer"] = {"name": "that_raises:Mine", "lr": 1e-3}
        modular["train"]["ckpt_every"] = 10
        return write_config(modular)

    return write


def test_a_third_partys_exception_is_one_sentence(invoke, config, tmp_path):
    path = config('raise ValueError("no luck\\ntoday")')
    code, _, error = invoke("train", path, "--out", "run")
    message = f"ValueError: no luck today ({tmp_path / 'that_raises.py'}, line 8)"
    assert (code, error) == (
        1,
        f"Error: training failed: {message}; run/traceback.txt has the traceback: correct the cause, then "
        "resume with: arsbench resume run\n",
    )
    run = RunFolder.open(tmp_path / "run")
    assert run.status == {"state": "failed", "step": 9, "message": message}
    assert run.traceback_path.read_text().endswith("ValueError: no luck\ntoday\n")
    assert (
        f"**The run failed after step 9**; it can be resumed. {message}."
        in (run.path / "summary.md").read_text()
    )
    assert invoke("report", "run")[0] == 0
    code, output, _ = invoke("compare", "run")
    assert (code, f"- run failed after step 9: {message}." in output) == (0, True)

    config("pass")
    assert not run.checkpoints.exists()
    code, _, error = invoke("resume", "run")
    assert (code, error) == (0, "")
    assert RunFolder.open(run.path).status["state"] == "finished"


def test_a_full_disk_leaves_a_failed_run(invoke, config, tmp_path, monkeypatch):
    from arsbench.errors import UserError

    def full(*_):
        raise UserError("cannot write epochs.jsonl: the disk is full")

    path = config("pass")
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "append_epoch", full)
        code, _, error = invoke("train", path, "--out", "run")
    assert (code, error) == (2, "Error: cannot write epochs.jsonl: the disk is full\n")
    assert RunFolder.open(tmp_path / "run").status["state"] == "failed"
    assert "run failed: cannot write epochs.jsonl" in invoke("compare", "run")[2]
    assert invoke("train", path, "--out", "run", "--resume")[0] == 0


def test_a_run_that_diverges_trains_on_and_says_so(invoke, config, tmp_path):
    code, output, _ = invoke("train", config(JOLT), "--out", "run")
    assert code == 0
    assert any(line.startswith("diverged at step 10: the loss is ") for line in output.splitlines())
    assert output.endswith("The run diverged at step 10.\n")
    assert RunFolder.open(tmp_path / "run").status["diverged_at"] == 10
    code, output, _ = invoke("compare", "run", "--json")
    (run,) = json.loads(output)["runs"]
    assert (run["state"], run["diverged_at"]) == ("finished", 10)
    invoke("report", "run")
    for source in ("run", "run/summary.md"):
        assert "- run diverged at step 10 and finished after step" in invoke("compare", source)[1].replace(
            "summary", "run"
        )


def test_backends_are_shown_once_they_are_known(tmp_path):
    run = RunFolder.create(tmp_path / "run", config={}, effective={}, environment={"backends": {}}, groups=[])
    assert describe(run) == [f"run folder: {run.path}"]
    run.set_environment({"backends": {"rms_norm": "CPU kernel"}})
    assert describe(run)[1:] == ["backends: rms_norm CPU kernel"]


@pytest.mark.parametrize(("loss", "shown"), [(0.0, "1.00"), (620.0, "> 1e6"), (1000.0, "> 1e6")])
def test_perplexities(loss, shown):
    from arsbench.metrics import perplexity

    figures = {"loss": loss, "perplexity": perplexity(loss)}
    record = {
        "epoch": 1,
        "train_loss": loss,
        "evaluation": {"validation": {"seed": figures}},
        "epoch_seconds": 1,
    }
    assert f"loss {loss:.4f}, perplexity {shown}, 0:01" in epoch_line(record)
    for name in ("perplexity", "word_perplexity"):
        assert _number(name, figures["perplexity"]).startswith(shown)
    assert _number("loss", 1e7) == "10000000.0000"
