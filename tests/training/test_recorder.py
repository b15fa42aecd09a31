"""A training step launches work and waits for nothing; its figures are read, timed and summed later."""

import math

import pytest
import torch

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.optim.registry import OPTIMIZERS
from arsbench.tasks import WikiText2Line
from arsbench.training.recorder import EpochTotals, Recorder
from arsbench.training.step import Step, prefetched
from arsbench.training.trainer import Trainer


class Silent:
    def __getattr__(self, name):
        return lambda *arguments: None


def trainer_on(device, given):
    config = config_from_dict(given)
    return Trainer(config, WikiText2Line(config), torch.device(device), Silent())


@pytest.mark.parametrize("name", [*OPTIMIZERS, "torch.optim:SGD"])
def test_no_step_asks_the_device_for_a_number(name, tiny):
    """Tensors of the device "meta" have no values: whoever asks for one gets an error."""
    tiny["optimizer"] = {"name": name, "lr": 0.01} | ({"k": 2} if name == "ARS" else {})
    tiny["train"] |= {"log_every": 10, "accumulate": 2, "grad_clip": 1.0}
    trainer = trainer_on("meta", tiny)
    steps = prefetched(trainer.task.training_steps(0), trainer.device)
    for _, batches in zip(range(4), steps, strict=False):
        trainer._train_step(0, batches)
    assert trainer.step == 4
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        trainer.recorder._read_figures()


def test_only_the_adaptive_schedule_asks(tiny):
    tiny["optimizer"] |= {"k": 4, "adaptive_sync": True}
    trainer = trainer_on("meta", tiny)
    batches = next(prefetched(trainer.task.training_steps(0), trainer.device))
    trainer._train_step(0, batches)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        trainer._train_step(0, batches)


@pytest.mark.parametrize("every", [2, 7])
def test_figures_read_late_are_the_same(every, tiny, tmp_path):
    """What a GPU's run records, whose figures are read many steps at once."""
    tiny["train"] |= {"ckpt_every_steps": 5, "log_every": 1, "epochs": 2}
    runs = []
    for name, read_every in (("at-once", 1), ("late", every)):
        config = config_from_dict(tiny)
        trainer = training.create_trainer(config, Silent())
        trainer._read_every = read_every
        run = training.new_run(tmp_path / name, config, trainer)
        assert trainer.run(run) == "finished"
        runs.append(run)
    timing = {
        "seconds",
        "diagnostics",
        "epoch_seconds",
        "evaluation_seconds",
        "tokens_per_second",
        "peak_rss_mib",
    }
    for at_once, late in zip(*(run.steps() + run.epochs() for run in runs), strict=True):
        assert {k: v for k, v in at_once.items() if k not in timing} == {
            k: v for k, v in late.items() if k not in timing
        }
    assert all(step["seconds"] > 0 for step in runs[1].steps())


def test_a_number_that_is_not_finite_is_named_by_its_step(tiny, tmp_path, monkeypatch):
    config = config_from_dict(tiny)
    trainer = training.create_trainer(config, Silent())
    trainer._read_every = 5
    run = training.new_run(tmp_path / "run", config, trainer)
    original = trainer.task.loss

    def loss(model, inputs, targets):
        output = original(model, inputs, targets)
        return output._replace(loss=output.loss * math.nan) if trainer.step == 6 else output

    monkeypatch.setattr(trainer.task, "loss", loss)
    assert trainer.run(run) == "non_finite"
    assert "loss became nan at step 7" in run.status["message"]
    assert [step["step"] for step in run.steps()] == [1, 2, 3, 4, 5, 6]


@pytest.fixture
def recorder(modular):
    return Recorder(config_from_dict(modular), 24, Silent())


def test_steps_share_the_time_between_reads(recorder):
    assert recorder._read_figures() == []
    for number in range(3):
        recorder.begin()
        recorder.add(Step({"step": number, "loss": torch.tensor(float(number))}, {"energy": 1.0}))
    records = recorder._read_figures()
    assert [record["loss"] for record in records] == [0.0, 1.0, 2.0]
    assert len({record["seconds"] for record in records}) == 1
    assert records[2]["diagnostics"] == {"energy": 1.0}
    assert "diagnostics" not in records[0]


def test_figures_may_be_tensors_of_the_device_and_numbers(recorder, monkeypatch):
    """Of parameters without gradients the norm is the number 0, beside a loss that lies on the device."""
    stacked = []

    def stack(tensors):
        stacked.append({tensor.device.type for tensor in tensors})
        return torch.tensor([0.5, 1.5], dtype=torch.float64)

    for step in range(2):
        recorder.begin()
        recorder.add(Step({"loss": torch.empty((), device="meta"), "grad_norm": float(step)}, {}))
    monkeypatch.setattr(torch, "stack", stack)
    records = recorder._read_figures()
    assert stacked == [{"meta"}]
    assert [(r["loss"], r["grad_norm"]) for r in records] == [(0.5, 0.0), (1.5, 1.0)]


@pytest.mark.parametrize("read_every", [1, 4])
def test_the_time_of_a_step_includes_the_wait_for_its_batches(read_every, tiny, tmp_path, monkeypatch):
    """By a clock that only the loader advances; what happens between two reads does not count."""
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    tiny["train"] |= {"max_steps": 8, "log_every": 1, "ckpt_every_steps": 4}
    config = config_from_dict(tiny)
    trainer = training.create_trainer(config, Silent())
    trainer._read_every = read_every
    run = training.new_run(tmp_path / "run", config, trainer)
    training_steps = trainer.task.training_steps
    append = run.append_step

    def slow_steps(*arguments):
        for batches in training_steps(*arguments):
            clock[0] += 100.0
            yield batches

    def slow_append(record):
        clock[0] += 7.0
        append(record)

    monkeypatch.setattr(trainer.task, "training_steps", slow_steps)
    monkeypatch.setattr(run, "append_step", slow_append)
    trainer.run(run)
    assert [step["seconds"] for step in run.steps()] == [100.0] * 8
    (epoch,) = run.epochs()
    assert epoch["epoch_seconds"] - epoch["evaluation_seconds"] == 800.0


STEP = {"loss": 2.0, "entropy_nats": 3.0, "grad_norm": 0.5, "forward_backward_passes": 2, "tokens": 10}


def test_an_epochs_columns_are_means_over_its_steps():
    totals = EpochTotals()
    totals.add(STEP | {"lr": 0.1, "seconds": 3.0})
    totals.add({"loss": 4.0, "entropy_nats": 1.0, "grad_norm": 1.5} | {
        "forward_backward_passes": 1, "tokens": 10, "lr": 0.2, "seconds": 1.0
    })  # fmt: skip
    columns = totals.columns(classes=100)
    assert EpochTotals(totals.state_dict()).columns(classes=100) == columns
    assert columns["train_loss"] == 3.0
    assert columns["entropy_nats"] == 2.0
    assert columns["entropy"] == 0.02
    assert columns["grad_norm"] == 1.0
    assert columns["pi"] == pytest.approx(math.exp(-1.02))
    assert (columns["forward_backward_passes"], columns["tokens_per_second"], columns["lr"]) == (3, 5.0, 0.2)
    assert columns["effective_gamma"] is None
    assert not columns.keys() & {"train_accuracy", "train_loss_strict"}


def test_accuracy_and_strict_loss_are_weighted_by_targets():
    """Not means over steps: the last batch of an epoch may be smaller, and padding varies."""
    totals = EpochTotals()
    rest = STEP | {"lr": 0.1, "seconds": 1.0}
    totals.add(rest | {"tokens": 30, "accuracy": 0.1, "loss_strict": 2.0, "real_targets": 10})
    totals.add(rest | {"tokens": 10, "accuracy": 0.9, "loss_strict": 4.0, "real_targets": 5})
    columns = EpochTotals(totals.state_dict()).columns(classes=5)
    assert columns["train_accuracy"] == pytest.approx(12 / 40)
    assert columns["train_loss_strict"] == pytest.approx(40 / 15)


def test_the_totals_of_older_checkpoints_are_read():
    """Their epoch goes on without the figures that its first steps lack."""
    totals = EpochTotals(
        {
            "steps": 1, "loss": 2.0, "entropy": 3.0, "grad_norm": 0.5, "passes": 2, "tokens": 10,
            "training_seconds": 4.0, "evaluation_seconds": 1.5, "lr": 0.1, "correct": None,
        }
    )  # fmt: skip
    totals.add(STEP | {"loss": 4.0, "lr": 0.1, "seconds": 1.0, "loss_strict": 4.0, "real_targets": 5})
    columns = totals.columns(classes=10)
    assert (columns["train_loss"], columns["entropy_nats"], columns["grad_norm"]) == (3.0, 3.0, 0.5)
    assert (columns["forward_backward_passes"], columns["tokens_per_second"]) == (4, 4.0)
    assert totals.spent() == {"forward_backward_passes": 4, "epoch_seconds": 6.5, "evaluation_seconds": 1.5}
    assert "train_loss_strict" not in columns
    fresh = EpochTotals(dict.fromkeys(("steps", "loss", "entropy", "grad_norm", "passes", "tokens"), 0))
    fresh.add(STEP | {"lr": 0.1, "seconds": 1.0, "loss_strict": 4.0, "real_targets": 5})
    assert fresh.columns(classes=10)["train_loss_strict"] == 4.0


def test_batches_come_in_order_and_all_of_them(monkeypatch):
    """Also where they are copied a step ahead, on a device that this machine need not have."""
    monkeypatch.setattr("arsbench.training.step._copy", lambda x, device: x.clone())
    taken = []

    def steps():
        for number in range(4):
            taken.append(number)
            yield [(torch.full((2,), number), torch.full((2,), -number))]

    seen = []
    for ((inputs, targets),) in prefetched(steps(), torch.device("cuda")):
        seen.append((int(inputs[0]), int(targets[0])))
        assert len(taken) == min(len(seen) + 1, 4)
    assert seen == [(0, 0), (1, -1), (2, -2), (3, -3)]
    assert list(prefetched(iter([]), torch.device("cuda"))) == []
