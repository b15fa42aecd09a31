"""A run that is stopped and resumed computes the same bits as one that is not."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder
from arsbench.training.stopping import Interrupted

from .conftest import MEASURED

COMMAND = [sys.executable, "-c", "from arsbench_cli.main import main; main()", "train"]


class Crash(Exception):
    """Stands for a process that dies."""


class Watcher:
    """An observer that dies after `until` steps of its process."""

    def __init__(self, until: int | None = None) -> None:
        self.until, self.messages = until, []

    def start(self, task, step, total_steps):
        pass

    def step(self, record):
        if record["step"] == self.until:
            raise Crash

    def evaluating(self, split):
        pass

    def epoch(self, record):
        pass

    def message(self, text):
        self.messages.append(text)


def train(given: dict, path: Path, *, resume: bool = False, until: int | None = None) -> RunFolder:
    config = config_from_dict(given)
    trainer = training.create_trainer(config, Watcher(until))
    if resume:
        run = RunFolder.open(path)
        training.resumed_run(run, config, trainer)
    else:
        run = training.new_run(path, config, trainer)
    trainer.run(run)
    return run


def records(run: RunFolder) -> tuple[list, list, list]:
    return tuple(
        [{k: v for k, v in record.items() if k not in MEASURED} for record in lines]
        for lines in (run.steps(), run.epochs(), run.evaluations())
    )


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(max(run.checkpoints.glob("step-*")) / "model.safetensors")


def assert_same(run: RunFolder, undisturbed: RunFolder) -> None:
    assert records(run) == records(undisturbed)
    mine, theirs = weights(run), weights(undisturbed)
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert torch.equal(mine[name], theirs[name]), name


OPTIMIZERS = [
    {"name": "ARS", "k": 3, "rho": 0.05, "lr": 0.002},
    {"name": "ARS", "k": 4, "rho": 0.05, "lr": 0.002, "adaptive_sync": True},
    {"name": "ARS", "k": 0, "lr": 0.002},
    {"name": "AdaMuon", "lr": 0.002},
    {"name": "AdamW", "lr": 0.002},
    {"name": "torch.optim:SGD", "lr": 0.1, "momentum": 0.9},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(str(v) for v in o.values()))
def test_resume_from_the_middle_of_an_epoch(tiny, tmp_path, optimizer):
    tiny["optimizer"] = optimizer
    tiny["scheduler"] = {"name": "cosine", "warmup_steps": 5}
    tiny["train"] |= {"ckpt_every_steps": 4, "epochs": 2}
    undisturbed = train(tiny, tmp_path / "undisturbed")
    last = undisturbed.epochs()[-1]["step"]
    assert last > 20
    with pytest.raises(Crash):
        train(tiny, tmp_path / "run", until=6)
    with pytest.raises(Crash):
        train(tiny, tmp_path / "run", resume=True, until=last // 2 + 3)
    run = train(tiny, tmp_path / "run", resume=True)
    assert_same(run, undisturbed)


@pytest.mark.parametrize("saved", [2, 3], ids=["at an evaluation", "beside one"])
def test_evaluations_within_epochs_come_once(modular, tmp_path, saved):
    """Whatever was evaluated when the process died, also if that was the moment of a checkpoint."""
    modular["train"] |= {"eval_every_steps": 2, "ckpt_every_steps": saved}
    undisturbed = train(modular, tmp_path / "undisturbed")
    assert [r["step"] for r in undisturbed.evaluations()] == [2, 4, 8, 10, 14, 16, 20, 22]
    for until in (3, 5, 11):
        with pytest.raises(Crash):
            train(modular, tmp_path / "run", resume=(tmp_path / "run").exists(), until=until)
    assert_same(train(modular, tmp_path / "run", resume=True), undisturbed)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(str(v) for v in o.values()))
def test_resume_of_modular_addition(modular, tmp_path, optimizer):
    """Another task, another model, figures of its own: the same promise."""
    modular["optimizer"] = optimizer
    modular["train"] |= {"ckpt_every_steps": 4, "accumulate": 2, "epochs": 5}
    undisturbed = train(modular, tmp_path / "undisturbed")
    assert undisturbed.epochs()[-1]["step"] == 15
    assert all(0 < record["train_accuracy"] < 1 for record in undisturbed.epochs())
    with pytest.raises(Crash):
        train(modular, tmp_path / "run", until=6)
    with pytest.raises(Crash):
        train(modular, tmp_path / "run", resume=True, until=11)
    assert_same(train(modular, tmp_path / "run", resume=True), undisturbed)


@pytest.fixture
def to_target(tiny):
    """A configuration that has the loss it is to stop at after its second epoch (4.2, 3.7, 3.3, …)."""
    return tiny | {"train": tiny["train"] | {"epochs": 4, "stop_at": 3.9}}


def test_a_run_ends_at_its_target_and_stays_there(to_target, tmp_path):
    run = train(to_target, tmp_path / "run")
    first, last = run.epochs()
    assert (run.status["state"], run.status["step"]) == ("finished", last["step"])
    # The end is also where the test text is evaluated and a checkpoint is due.
    assert (list(first["evaluation"]), list(last["evaluation"])) == (["validation"], ["validation", "test"])
    assert max(run.checkpoints.iterdir()).name == f"step-{last['step']:08d}"
    before = records(run), weights(run)
    again = train(to_target, tmp_path / "run", resume=True)
    assert (records(again), again.status["state"]) == (before[0], "finished")
    assert all(torch.equal(a, b) for a, b in zip(weights(again).values(), before[1].values(), strict=True))


def test_a_target_is_met_by_a_resumed_run_too(to_target, tmp_path, monkeypatch):
    to_target["train"]["ckpt_every"] = 4
    undisturbed = train(to_target, tmp_path / "undisturbed")

    def crash(*arguments):
        raise Crash

    monkeypatch.setattr(training.state, "save_checkpoint", crash)
    with pytest.raises(Crash):
        train(to_target, tmp_path / "run")
    monkeypatch.undo()  # the last epoch is recorded, and not saved
    assert len(RunFolder.open(tmp_path / "run").epochs()) == 2
    assert_same(train(to_target, tmp_path / "run", resume=True), undisturbed)


def test_interrupted_at_the_target_evaluates_again(to_target, tmp_path, monkeypatch):
    undisturbed = train(to_target, tmp_path / "undisturbed")
    evaluate = training.trainer.evaluate

    def interrupted_at_the_test_text(model, task, config, split, device):
        if split == "test":
            raise Interrupted
        return evaluate(model, task, config, split, device)

    monkeypatch.setattr(training.trainer, "evaluate", interrupted_at_the_test_text)
    run = train(to_target, tmp_path / "run")
    monkeypatch.undo()
    assert (run.status["state"], len(run.epochs())) == ("interrupted", 1)
    assert_same(train(to_target, tmp_path / "run", resume=True), undisturbed)


def test_resume_before_the_first_checkpoint_starts_over(tiny, tmp_path):
    undisturbed = train(tiny, tmp_path / "undisturbed")
    with pytest.raises(Crash):
        train(tiny, tmp_path / "run", until=3)
    assert len(RunFolder.open(tmp_path / "run").steps()) == 3
    assert_same(train(tiny, tmp_path / "run", resume=True), undisturbed)


def test_a_crash_while_the_end_of_an_epoch_is_saved_records_it_once(tiny, tmp_path, monkeypatch):
    tiny["train"] |= {"ckpt_every_steps": 1, "epochs": 1}
    undisturbed = train(tiny, tmp_path / "undisturbed")
    state_module = training.state
    save = state_module.save_checkpoint
    last = undisturbed.epochs()[-1]["step"]

    def crash_at_the_end(root, step, *arguments):
        if step == last:
            raise Crash
        return save(root, step, *arguments)

    monkeypatch.setattr(state_module, "save_checkpoint", crash_at_the_end)
    with pytest.raises(Crash):
        train(tiny, tmp_path / "run")
    assert len(RunFolder.open(tmp_path / "run").epochs()) == 1
    monkeypatch.undo()
    assert_same(train(tiny, tmp_path / "run", resume=True), undisturbed)


def test_interrupted_while_evaluating_resumes_at_the_evaluation(tiny, tmp_path, monkeypatch):
    tiny["train"]["epochs"] = 1
    undisturbed = train(tiny, tmp_path / "undisturbed")

    def interrupted(*arguments):
        raise Interrupted

    monkeypatch.setattr(training.trainer, "evaluate", interrupted)
    run = train(tiny, tmp_path / "run")
    assert run.status["state"] == "interrupted"
    assert run.epochs() == []
    # What a crash after the record and before the next checkpoint leaves behind.
    run.append_epoch(undisturbed.epochs()[0])
    monkeypatch.undo()
    assert_same(train(tiny, tmp_path / "run", resume=True), undisturbed)


def test_accumulation_bf16_and_workers_resume_too(tiny, tmp_path):
    tiny["train"] |= {"ckpt_every_steps": 3, "precision": "bf16", "accumulate": 2, "grad_clip": 0.5}
    tiny["data"]["num_workers"] = 1
    undisturbed = train(tiny, tmp_path / "undisturbed")
    with pytest.raises(Crash):
        train(tiny, tmp_path / "run", until=8)
    assert_same(train(tiny, tmp_path / "run", resume=True), undisturbed)


def test_more_epochs_are_the_one_allowed_change(tiny, tmp_path):
    long = tiny | {"train": tiny["train"] | {"epochs": 3}}
    undisturbed = train(long, tmp_path / "undisturbed")
    train(tiny, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    training.check_resumable(run, config_from_dict(long))
    run = train(long, tmp_path / "run", resume=True)
    assert run.config["train"]["epochs"] == 3
    mine, theirs = records(run), records(undisturbed)
    del mine[1][1]["evaluation"]["test"]  # the shorter run's last epoch also saw the test text
    assert mine == theirs
    assert all(
        torch.equal(a, b) for a, b in zip(weights(run).values(), weights(undisturbed).values(), strict=True)
    )


def test_changed_texts_are_refused(tiny, tmp_path, texts):
    tiny["train"]["ckpt_every_steps"] = 2
    with pytest.raises(Crash):
        train(tiny, tmp_path / "run", until=5)
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in texts.iterdir():
        (changed / file.name).write_text(file.read_text() + ("One more line .\n" * ("valid" in file.name)))
    tiny["data"]["path"] = str(changed)
    with pytest.raises(UserError, match=r"the data has changed .*\(validation\)"):
        train(tiny, tmp_path / "run", resume=True)


def test_a_finished_run_stays_as_it_is(tiny, tmp_path):
    run = train(tiny, tmp_path / "run")
    before = records(run), weights(run)
    again = train(tiny, tmp_path / "run", resume=True)
    assert records(again) == before[0]
    assert again.status["state"] == "finished"


def test_kill_9_at_random_steps(tiny, tmp_path, write_config):
    tiny["train"] |= {"ckpt_every_steps": 3, "epochs": 4}
    config = write_config(tiny)
    undisturbed = train(tiny, tmp_path / "undisturbed")
    total = undisturbed.epochs()[-1]["step"]
    out = tmp_path / "run"
    draw = random.Random(int(time.time()))
    kills = 0
    for _ in range(40):
        arguments = [config, "--out", str(out), *(["--resume"] if (out / "status.json").exists() else [])]
        process = subprocess.Popen(
            COMMAND + arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        done = lines(out / "steps.jsonl")
        # Early in what is left: a busy machine may look late, and must not find the run at its end.
        target = done + draw.randint(1, 1 + (total - done) // 8) if kills < 3 else total + 1
        while process.poll() is None and lines(out / "steps.jsonl") < target:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()
    assert process.returncode == 0
    assert kills >= 1
    assert_same(RunFolder.open(out), undisturbed)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_ctrl_c_finishes_the_step_saves_and_exits_130(tiny, tmp_path, write_config):
    tiny["train"]["epochs"] = 40
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, write_config(tiny), "--out", str(out)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    while lines(out / "steps.jsonl") < 5:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "arsbench resume" in output
    run = RunFolder.open(out)
    assert run.status["state"] == "interrupted"
    saved = max(run.checkpoints.glob("step-*"))
    assert int(saved.name.removeprefix("step-")) == run.status["step"] == run.steps()[-1]["step"]
    assert json.loads((saved / "manifest.json").read_text())["step"] == run.status["step"]
