"""A training step launches work and waits for nothing, wherever it runs."""

import math

import pytest
import torch

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.optim.registry import OPTIMIZERS
from arsbench.tasks import WikiText2Line
from arsbench.training.prefetch import prefetched
from arsbench.training.readings import Readings, Step
from arsbench.training.trainer import Trainer


class Silent:
    def __getattr__(self, name):
        return lambda *arguments: None


def trainer_on(device, given):
    config = config_from_dict(given)
    return Trainer(config, WikiText2Line.prepare(config), torch.device(device), Silent())


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
        trainer._recorder._readings.read()


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
        trainer = training.prepare_trainer(config, Silent())
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
    trainer = training.prepare_trainer(config, Silent())
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


def test_readings_share_the_time_between_reads():
    readings = Readings()
    assert readings.read() == []
    for number in range(3):
        readings.begin()
        readings.add(Step({"step": number}, {"loss": torch.tensor(float(number))}, {"energy": 1.0}))
    records = readings.read()
    assert [record["loss"] for record in records] == [0.0, 1.0, 2.0]
    assert len({record["seconds"] for record in records}) == 1
    assert records[2]["diagnostics"] == {"energy": 1.0}
    assert "diagnostics" not in records[0]


def test_figures_may_be_tensors_of_the_device_and_numbers(monkeypatch):
    """Of parameters without gradients the norm is the number 0, beside a loss that lies on the device."""
    stacked = []

    def stack(tensors):
        stacked.append({tensor.device.type for tensor in tensors})
        return torch.tensor([0.5, 1.5], dtype=torch.float64)

    readings = Readings()
    for step in range(2):
        readings.begin()
        figures = {"loss": torch.empty((), device="meta"), "grad_norm": float(step)}
        readings.add(Step({"step": step}, figures, {}))
    monkeypatch.setattr(torch, "stack", stack)
    records = readings.read()
    assert stacked == [{"meta"}]
    assert [(r["loss"], r["grad_norm"]) for r in records] == [(0.5, 0.0), (1.5, 1.0)]


def test_batches_come_in_order_and_all_of_them(monkeypatch):
    """Also where they are copied a step ahead, on a device that this machine need not have."""
    monkeypatch.setattr("arsbench.training.prefetch._copy", lambda x, device: x.clone())
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
