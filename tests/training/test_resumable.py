"""Which runs may be resumed, and under which configuration."""

import shutil

import pytest

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder

from .test_resume import Watcher, records, train


def test_another_configuration_is_refused_by_name(tiny, tmp_path):
    run = train(tiny, tmp_path / "run")
    other = tiny | {"optimizer": tiny["optimizer"] | {"k": 5, "alpha": 0.2}}
    with pytest.raises(UserError) as error:
        training.check_resumable(run, config_from_dict(other))
    assert "optimizer.k was 3 and is now 5" in str(error.value)
    assert "optimizer.alpha was 0.1 and is now 0.2" in str(error.value)
    fewer = tiny | {"train": tiny["train"] | {"epochs": 1}}
    with pytest.raises(UserError, match=r"train\.epochs was 2 and is now 1"):
        training.check_resumable(run, config_from_dict(fewer))


def test_a_key_that_is_younger_than_the_run_had_its_default(tiny, tmp_path):
    run = train(tiny, tmp_path / "run")
    before = run.effective
    del before["train"]["stop_at"], before["data"]["modulus"]
    run.reconfigure(config=run.config, effective=before)
    training.check_resumable(run, config_from_dict(tiny))
    other = tiny | {"data": tiny["data"] | {"modulus": 7}}
    with pytest.raises(UserError, match=r"data\.modulus was 113 and is now 7"):
        training.check_resumable(run, config_from_dict(other))


def test_only_the_optimizers_own_keys_are_the_runs(tiny, tmp_path):
    tiny["optimizer"] = {"name": "AdamW", "lr": 1e-3, "k": 5}
    run = train(tiny, tmp_path / "run")
    assert set(run.effective["optimizer"]) == {"name", "lr", "betas", "eps", "weight_decay"}
    training.check_resumable(run, config_from_dict(tiny | {"optimizer": tiny["optimizer"] | {"k": 2}}))
    with pytest.raises(UserError, match=r"optimizer\.eps was 1e-08 and is now 1e-06;"):
        training.check_resumable(
            run, config_from_dict(tiny | {"optimizer": tiny["optimizer"] | {"eps": 1e-6}})
        )


@pytest.mark.parametrize(("adaptive_sync", "second_moment"), [(False, "plain"), (True, "injected")])
def test_a_run_from_before_there_was_a_second_moment_keeps_its_own(
    adaptive_sync, second_moment, tiny, tmp_path
):
    tiny["optimizer"]["adaptive_sync"] = adaptive_sync
    as_then = tiny | {"optimizer": tiny["optimizer"] | {"second_moment": second_moment}}
    run = train(as_then, tmp_path / "run")
    before = run.effective
    del before["optimizer"]["second_moment"]
    run.reconfigure(config=tiny, effective=before)
    longer = config_from_dict(tiny | {"train": tiny["train"] | {"epochs": 3}})
    for _ in range(2):  # the second time it is stored
        config = training.check_resumable(run, longer)
        assert config.optimizer.second_moment == second_moment
        trainer = training.create_trainer(config, Watcher())
        training.resumed_run(run, config, trainer)
        assert run.effective["optimizer"]["second_moment"] == second_moment
        assert {group["second_moment"] for group in trainer.optimizer.param_groups} == {second_moment}
    other = tiny | {"optimizer": tiny["optimizer"] | {"second_moment": "bounded"}}
    with pytest.raises(UserError, match=f"second_moment was '{second_moment}' and is now 'bounded'"):
        training.check_resumable(run, config_from_dict(other))


def test_a_new_run_states_its_second_moment(tiny, tmp_path):
    assert train(tiny, tmp_path / "run").effective["optimizer"]["second_moment"] == "bounded"


def test_a_finished_run_whose_continuation_fails_can_be_resumed(tiny, tmp_path, monkeypatch):
    """Though records after its oldest checkpoint, the only one left, were cut off before it failed."""
    tiny["train"]["ckpt_every"] = 1
    run = train(tiny, tmp_path / "run")
    *_, newest = sorted(run.checkpoints.iterdir())
    shutil.rmtree(newest)
    longer = tiny | {"train": tiny["train"] | {"epochs": 3}}

    def fail(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(RunFolder, "reconfigure", fail)
        with pytest.raises(KeyboardInterrupt):
            train(longer, tmp_path / "run", resume=True)
    assert len(run.epochs()) == 1
    assert RunFolder.open(run.path).status["state"] == "running"
    train(longer, tmp_path / "run", resume=True)
    assert [record["epoch"] for record in RunFolder.open(run.path).epochs()] == [1, 2, 3]


@pytest.mark.parametrize("state", ["finished", "interrupted", "non_finite"])
def test_a_run_that_ended_is_not_begun_again_without_checkpoints(tiny, tmp_path, state):
    run = train(tiny, tmp_path / "run")
    run.set_status(state, run.status["step"])
    before = records(run)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UserError, match="has ended and has no checkpoint to resume from; restore its"):
        training.check_resumable(run, config_from_dict(tiny))
    assert records(run) == before


@pytest.mark.parametrize("state", ["failed", "running"])
def test_a_run_read_back_from_a_report_is_not_begun_anew(tiny, tmp_path, state):
    run = train(tiny, tmp_path / "run")
    run.set_status(state, 20, "a disk was full", from_report=True)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UserError, match="has no checkpoint to resume from"):
        training.check_resumable(run, config_from_dict(tiny))
    run.set_status(state, 20, "a disk was full")
    training.check_resumable(run, config_from_dict(tiny))
