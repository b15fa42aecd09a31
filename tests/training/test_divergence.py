"""Runs that diverge with finite numbers."""

import math

import pytest

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.runs.folder import RunFolder
from arsbench.training.divergence import Divergence
from arsbench.training.recorder import Recorder

from .test_resume import Watcher, records

UNIFORM = math.log(24)  # of `modular`: 23 numbers and "="


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([0.9, 0.9, 2.5, 9.0], 3),  # the first such step
        ([1.1, 9.0, 9.0], None),  # it had learned nothing
        ([9.0, 0.9, 9.0], 3),
        ([1.0, 2.5], None),  # as good as uniform is not below it
        ([0.9, 2.0], None),  # nor is twice as high above that
        ([0.9, 2.5, 0.5, 9.0], 2),  # whatever follows
    ],
)
def test_diverged_is_far_above_uniform_after_having_been_below(losses, step):
    watched = Divergence(24)
    noticed = [number for number, loss in enumerate(losses, 1) if watched.add(number, loss * UNIFORM)]
    assert (watched.step, noticed) == (step, [step] * (step is not None))


def train(given, path, losses, *, resume=False, until=None):
    """Train with the losses of some steps scaled, and stop after step `until` as a process that dies."""
    config = config_from_dict(given)
    watcher = Watcher(until)
    trainer = training.create_trainer(config, watcher)
    original = trainer.task.loss

    def scaled(model, inputs, targets):
        output = original(model, inputs, targets)
        wanted = losses.get(trainer.step + 1)
        return output if wanted is None else output._replace(loss=output.loss * wanted / output.loss.item())

    trainer.task.loss = scaled
    if resume:
        run = RunFolder.open(path)
        training.resumed_run(run, config, trainer)
    else:
        run = training.new_run(path, config, trainer)
    try:
        state = trainer.run(run)
    except Exception:
        state = None
    return RunFolder.open(path), state, watcher.messages


@pytest.fixture
def diverging(modular):
    """Learns at step 3 and diverges at step 8, neither of which is logged; checkpoints at 5 and 10."""
    modular["optimizer"] = {"name": "AdamW", "lr": 1e-4}
    modular["train"] |= {"log_every": 6, "ckpt_every_steps": 5}
    return modular, {3: 0.5 * UNIFORM, 8: 3 * UNIFORM, 9: 4 * UNIFORM}


def test_it_trains_on_and_is_finished(diverging, tmp_path):
    given, losses = diverging
    run, state, messages = train(given, tmp_path / "run", losses)
    assert state == "finished"
    assert run.status == {
        "state": "finished",
        "step": 24,
        "message": "",
        "records": {"steps.jsonl": 4, "epochs.jsonl": 4},
        "diverged_at": 8,
    }
    (message,) = [text for text in messages if "diverged" in text]
    assert message.startswith("diverged at step 8: the loss is 9.534, more than twice that of a uniform")
    given["train"]["log_every"] = 1
    assert train(given, tmp_path / "all", losses)[0].status["diverged_at"] == 8


@pytest.mark.parametrize("until", [9, 12], ids=["before its checkpoint", "after it"])
def test_a_resumed_run_has_diverged_where_the_undisturbed_one_has(diverging, tmp_path, until):
    given, losses = diverging
    undisturbed, *_ = train(given, tmp_path / "undisturbed", losses)
    died, *_ = train(given, tmp_path / "run", losses, until=until)
    assert died.status["diverged_at"] == 8
    run, *_ = train(given, tmp_path / "run", losses, resume=True)
    assert run.status == undisturbed.status
    assert records(run) == records(undisturbed)


def test_a_run_under_way_has_it_in_its_status(diverging, tmp_path, monkeypatch):
    given, losses = diverging
    seen = []
    monkeypatch.setattr(
        Watcher, "message", lambda self, text: seen.append(RunFolder(tmp_path / "run").status)
    )
    train(given, tmp_path / "run", losses)
    assert seen == [{"state": "running", "step": 8, "message": "", "diverged_at": 8}]


def test_what_is_computed_again_may_not_diverge_again(diverging, tmp_path):
    given, losses = diverging
    train(given, tmp_path / "run", losses, until=9)
    run, state, _ = train(given, tmp_path / "run", {}, resume=True)
    assert state == "finished"
    assert "diverged_at" not in run.status


def test_an_older_checkpoint_goes_by_the_recorded_steps_before_it(modular, tmp_path):
    run = RunFolder.create(tmp_path / "run", config={}, effective={}, environment={}, groups=[])
    for step, loss in ((1, 0.5), (2, 3.0), (3, 9.0)):
        run.append_step({"step": step, "loss": loss * UNIFORM})
    for saved, expected in ((1, None), (2, 2), (3, 2)):
        recorder = Recorder(config_from_dict(modular), 24, Watcher())
        recorder.load_state_dict({"metrics": {}, "step": saved}, run)
        assert (recorder.divergence.learned, recorder.divergence.step) == (True, expected)
