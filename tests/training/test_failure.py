"""What is left of a run whose code raises, and that it can be resumed."""

import pytest

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder
from arsbench.training import StopTraining, describe_failure

from .test_resume import Watcher, assert_same, train

# The tests replace it.
pytestmark = pytest.mark.filterwarnings("ignore:Seems like `optimizer.step")


def fail_at(step, error, given, path):
    """Train until the optimizer raises in its step after `step`; the run as it is left."""
    config = config_from_dict(given)
    trainer = training.create_trainer(config, Watcher())
    run = training.new_run(path, config, trainer)
    original = trainer.optimizer.step

    def broken(closure):
        if trainer.step == step:
            raise error
        return original(closure)

    trainer.optimizer.step = broken
    with pytest.raises(type(error)) as caught:
        trainer.run(run)
    assert caught.value is error
    return RunFolder.open(path)


def test_an_exception_is_in_the_status_and_its_traceback_in_the_folder(modular, tmp_path):
    run = fail_at(7, ValueError("no luck\ntoday"), modular, tmp_path / "run")
    assert (run.status["state"], run.status["step"]) == ("failed", 7)
    message = run.status["message"]
    assert message.startswith(f"ValueError: no luck today ({__file__}, line ")
    assert "\n" not in message
    text = run.traceback_path.read_text()
    assert text.startswith("Traceback (most recent call last):")
    assert text.endswith("ValueError: no luck\ntoday\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("cannot write: the disk is full"), "cannot write: the disk is full"),
        (KeyboardInterrupt(), "stopped at once by Ctrl-C"),
    ],
)
def test_what_is_no_mistake_in_code_leaves_no_traceback(modular, tmp_path, error, message):
    run = fail_at(2, error, modular, tmp_path / "run")
    assert (run.status["state"], run.status["message"]) == ("failed", message)
    assert not run.traceback_path.exists()


def test_before_its_first_checkpoint_it_is_begun_anew(modular, tmp_path):
    modular["train"] |= {"ckpt_every": 10, "eval_every_steps": 5}
    undisturbed = train(modular, tmp_path / "undisturbed")
    run = fail_at(15, MemoryError(), modular, tmp_path / "run")
    assert run.status["message"].startswith("MemoryError (")
    assert (len(run.steps()), len(run.epochs()), len(run.evaluations())) == (15, 2, 3)
    assert not run.checkpoints.exists()
    training.check_resumable(run, config_from_dict(modular))
    assert_same(train(modular, run.path, resume=True), undisturbed)


def test_after_a_checkpoint_it_is_continued(modular, tmp_path):
    modular["train"]["ckpt_every"] = 1
    undisturbed = train(modular, tmp_path / "undisturbed")
    run = fail_at(15, RuntimeError(), modular, tmp_path / "run")
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000006", "step-00000012"]
    training.check_resumable(run, config_from_dict(modular))
    assert_same(train(modular, run.path, resume=True), undisturbed)
    assert RunFolder.open(run.path).status["state"] == "finished"


def test_on_a_full_disk_the_first_error_is_the_one_that_is_raised(modular, tmp_path, monkeypatch):
    def full(*_, **__):
        raise UserError("cannot write: the disk is full")

    error = ValueError("no luck")
    config = config_from_dict(modular)
    trainer = training.create_trainer(config, Watcher())
    run = training.new_run(tmp_path / "run", config, trainer)

    def broken(closure):
        monkeypatch.setattr(RunFolder, "set_status", full)
        monkeypatch.setattr(RunFolder, "write_traceback", full)
        raise error

    trainer.optimizer.step = broken
    with pytest.raises(ValueError, match="no luck"):
        trainer.run(run)
    assert RunFolder.open(run.path).status["state"] == "running"


def test_an_observer_may_end_training(modular, tmp_path):
    run = fail_at(3, StopTraining(), modular, tmp_path / "run")
    assert run.status["state"] == "running"
    assert not run.traceback_path.exists()


def described(error):
    try:
        raise error
    except type(error) as raised:
        return describe_failure(raised)


def test_any_exception_fits_into_a_line():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError

    assert "Odd: <exception str() failed> (" in described(Odd())
    long = described(ValueError("word " * 1000))
    assert len(long) < 700
    assert " ... (" in long
    assert described(ValueError("a \ud800")).startswith(r"ValueError: a \ud800 (")
