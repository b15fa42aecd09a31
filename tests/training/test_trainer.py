"""What the trainer measures, and how it ends."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.config.schema import SchedulerConfig
from arsbench.metrics import METRICS, history
from arsbench.runs.folder import RunFolder
from arsbench.training.recorder import predictive_integrity
from arsbench.training.schedule import learning_rate_factor


class Silent:
    def __getattr__(self, name):
        return lambda *arguments: None


def train(given, path) -> RunFolder:
    config = config_from_dict(given)
    trainer = training.create_trainer(config, Silent())
    run = training.new_run(path, config, trainer)
    trainer.run(run)
    return run


def test_pi_is_the_seeds_first_row():
    assert predictive_integrity(0.0, 0.8098) == pytest.approx(0.445, abs=5e-4)


def test_the_accuracy_of_a_step_is_that_of_its_first_pass(modular, tmp_path):
    modular["train"] |= {"max_steps": 1, "accumulate": 2}
    (step,) = train(modular, tmp_path / "run").steps()
    trainer = training.create_trainer(config_from_dict(modular), Silent())  # the same initial weights
    batches = next(trainer.task.training_steps(0))
    right = sum((trainer.model(x).argmax(-1) == y).sum().item() for x, y in batches)
    assert step["forward_backward_passes"] == 2  # over both batches at once
    assert step["accuracy"] == pytest.approx(right / 120)


def test_the_environment_is_not_asked_for_after_every_epoch(modular, tmp_path, monkeypatch):
    """It runs git, which takes longer than such an epoch."""
    asked = []

    def environment(device, called):
        asked.append(device)
        return {"backends": {}}

    monkeypatch.setattr("arsbench.training.trainer.environment", environment)
    run = train(modular, tmp_path / "run")
    assert len(run.epochs()) == 4
    assert len(asked) == 2  # after the first epoch, and when all is done


def test_evaluations_within_epochs(tiny, tmp_path):
    """They change nothing of the run, and tell what their epoch had spent by then."""
    tiny["optimizer"] = {"name": "ARS", "k": 2}
    tiny["train"] |= {"epochs": 2}
    without = train(tiny, tmp_path / "without")
    tiny["train"]["eval_every_steps"] = 5
    run = train(tiny, tmp_path / "with")
    assert [step["loss"] for step in run.steps()] == [step["loss"] for step in without.steps()]
    assert without.evaluations() == []
    first_epoch, end = (record["step"] for record in run.epochs())
    found = run.evaluations()
    wanted = [step for step in range(5, end, 5) if step != first_epoch]
    assert [record["step"] for record in found] == wanted
    assert len(found) > 3
    assert {record["epoch"] for record in found} == {1, 2}
    for record in found:
        steps = [s for s in run.steps() if s["epoch"] == record["epoch"] and s["step"] <= record["step"]]
        assert record["forward_backward_passes"] == sum(s["forward_backward_passes"] for s in steps)
        assert record["evaluation_seconds"] > 0
        trained = record["epoch_seconds"] - record["evaluation_seconds"]
        assert trained == pytest.approx(sum(s["seconds"] for s in steps))
        assert set(record["evaluation"]) == {"validation"}
    metric = METRICS["wikitext2_line"][0]
    points = history(run.epochs(), metric, found)
    assert [p.steps for p in points] == sorted({*wanted, first_epoch, end})
    assert [p.seconds for p in points] == sorted(p.seconds for p in points)
    assert points[-1].seconds == pytest.approx(sum(step["seconds"] for step in run.steps()))
    # The last one within an epoch is what the weights at that step give.
    shorter = tiny | {"train": tiny["train"] | {"max_steps": wanted[-1]}}
    assert metric.value(train(shorter, tmp_path / "shorter").epochs()[-1]) == metric.value(found[-1])


@pytest.mark.parametrize(("target", "epochs"), [(-1.0, 1), (2.0, 4), (None, 4)])
def test_more_accuracy_is_better_than_the_target(modular, tmp_path, target, epochs):
    modular["train"]["stop_at"] = target
    assert len(train(modular, tmp_path / "run").epochs()) == epochs


def test_a_step_records_loss_entropy_and_norm_of_plain_pytorch(tiny, tmp_path):
    """Plain SGD over two accumulated batches, computed again by hand."""
    tiny["optimizer"] = {"name": "torch.optim:SGD", "lr": 0.5}
    tiny["train"] |= {"max_steps": 1, "accumulate": 2}
    run = train(tiny, tmp_path / "run")
    (step,) = run.steps()
    trainer = training.create_trainer(config_from_dict(tiny), Silent())  # the same initial weights
    batches = next(trainer.task.training_steps(0))
    losses, entropies, real = [], [], []
    for inputs, targets in batches:
        logits = trainer.model(inputs).flatten(0, 1)
        losses.append(F.cross_entropy(logits, targets.flatten()))
        keep = targets.flatten() != trainer.task.pad_id
        real.append(F.cross_entropy(logits[keep], targets.flatten()[keep], reduction="none"))
        log_p = logits.log_softmax(-1)
        entropies.append(-(log_p.exp() * log_p).sum(-1).mean())
    loss = torch.stack(losses).mean()
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in trainer.model.parameters()]).norm()
    assert step["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert step["entropy_nats"] == pytest.approx(torch.stack(entropies).mean().item(), rel=1e-5)
    assert step["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert step["forward_backward_passes"] == 1
    strict = torch.cat(real)
    assert {len(losses) for losses in real} != {batches[0][1].numel()}  # there is padding
    assert step["loss_strict"] == pytest.approx(strict.mean().item(), rel=1e-5)
    assert step["loss_strict"] != pytest.approx(step["loss"], rel=1e-2)
    (epoch,) = run.epochs()
    assert epoch["train_loss"] == step["loss"]
    assert epoch["train_loss_strict"] == pytest.approx(step["loss_strict"])
    assert set(epoch["evaluation"]) == {"validation", "test"}


def test_the_strict_loss_of_an_epoch_is_that_of_all_its_real_targets(tiny, tmp_path):
    tiny["train"] |= {"epochs": 1, "accumulate": 2}
    run = train(tiny, tmp_path / "run")
    trainer = training.create_trainer(config_from_dict(tiny), Silent())
    counts = [
        sum((targets != trainer.task.pad_id).sum().item() for _, targets in batches)
        for batches in trainer.task.training_steps(0)
    ]
    assert len(set(counts)) > 1
    losses = [step["loss_strict"] for step in run.steps()]
    mean = sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)
    assert run.epochs()[0]["train_loss_strict"] == pytest.approx(mean, rel=1e-12)
    assert "real_targets" not in run.steps()[0]


def test_without_padding_the_strict_loss_is_the_loss(tiny, modular, tmp_path):
    tiny["train"] |= {"max_steps": 4, "ignore_padding": True}
    for step in train(tiny, tmp_path / "run").steps():
        assert step["loss_strict"] == pytest.approx(step["loss"], rel=1e-6)
    assert "loss_strict" not in train(modular, tmp_path / "modular").steps()[0]


def test_passes_and_cosines_of_ars_are_recorded(tiny, tmp_path):
    tiny["train"]["epochs"] = 1
    run = train(tiny, tmp_path / "run")
    steps = run.steps()
    assert [s["forward_backward_passes"] for s in steps[:6]] == [2, 1, 1, 2, 1, 1]
    (epoch,) = run.epochs()
    assert epoch["forward_backward_passes"] == sum(s["forward_backward_passes"] for s in steps)
    assert set(epoch["diagnostics"]) == {"cos_pos_2", "cos_pos_0", "cos_pos_2_pre", "cos_pos_0_pre"}
    assert run.environment["backends"]


MODEL_OPS = {"linear", "rope_attention", "linear_cross_entropy", "swiglu_linear", "rms_norm"}


@pytest.mark.parametrize(
    ("optimizer", "own"),
    [
        ({"name": "ARS", "k": 3}, {"newton_schulz", "ars_moments"}),
        ({"name": "ARS", "k": 0}, {"newton_schulz", "ars_moments"}),
        ({"name": "AdamW"}, {"ars_moments"}),
        ({"name": "torch.optim:SGD", "lr": 0.1}, set()),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_backends_are_named_of_ops_that_ran(tiny, tmp_path, optimizer, own):
    """Whatever other runs of this process have called."""
    train(tiny | {"train": tiny["train"] | {"max_steps": 1}}, tmp_path / "ars")
    tiny["optimizer"] = optimizer
    tiny["train"]["max_steps"] = 2
    run = train(tiny, tmp_path / "run")
    assert set(run.environment["backends"]) == MODEL_OPS | own


def test_a_resumed_run_keeps_the_ops_of_its_first_process(tiny, tmp_path, monkeypatch):
    tiny["train"]["epochs"] = 1
    train(tiny, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    config = config_from_dict(tiny)
    trainer = training.create_trainer(config, Silent())
    training.resumed_run(run, config, trainer)
    trainer.run(run)  # nothing is left to be done
    assert set(run.environment["backends"]) == {"newton_schulz", "ars_moments"} | MODEL_OPS


def test_what_served_each_op_is_recorded_after_the_fact(tiny, tmp_path, monkeypatch):
    tiny["train"]["epochs"] = 1
    answers = iter([{"an op": "a kernel"}, {"an op": "the reference"}])
    monkeypatch.setattr("arsbench.ops.backends", lambda device, called: next(answers))
    run = train(tiny, tmp_path / "run")
    assert run.environment["backends"] == {"an op": "the reference"}
    assert run.environment["torch"] == torch.__version__


def test_gradient_clipping_bounds_the_norm(tiny, tmp_path):
    tiny["optimizer"] = {"name": "AdamW", "lr": 0.001}
    tiny["train"] |= {"max_steps": 3, "grad_clip": 0.01}
    steps = train(tiny, tmp_path / "run").steps()
    assert all(step["grad_norm"] == pytest.approx(0.01, rel=1e-3) for step in steps)


def test_training_learns(tiny, tmp_path):
    tiny["train"]["epochs"] = 3
    epochs = train(tiny, tmp_path / "run").epochs()
    losses = [epoch["evaluation"]["validation"]["strict"]["loss"] for epoch in epochs]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < math.log(400) - 1


def test_deterministic_runs_are_equal(tiny, tmp_path):
    tiny["experiment"]["deterministic"] = True
    tiny["train"]["max_steps"] = 4
    try:
        one, two = (train(tiny, tmp_path / name).steps() for name in ("one", "two"))
    finally:
        torch.use_deterministic_algorithms(False)
    assert [s["loss"] for s in one] == [s["loss"] for s in two]


@pytest.mark.filterwarnings("ignore:Seems like `optimizer.step")  # which the test replaces
@pytest.mark.parametrize("poison", ["loss", "gradient", "weights"])
def test_numbers_that_are_not_finite_stop_the_run(tiny, tmp_path, poison, monkeypatch):
    """Whatever turns bad first, nothing bad is ever saved."""
    tiny["train"]["ckpt_every_steps"] = 2
    config = config_from_dict(tiny)
    trainer = training.create_trainer(config, Silent())
    run = training.new_run(tmp_path / "run", config, trainer)
    weight = trainer.model.model.norm.weight
    original = trainer.task.loss

    def loss(model, inputs, targets):
        output = original(model, inputs, targets)
        if trainer.step != 3:
            return output
        if poison == "loss":
            return output._replace(loss=output.loss * math.nan)
        if poison == "gradient":
            weight.register_hook(lambda gradient: gradient * math.inf)
        return output

    def poisoned_step(closure):
        result = step(closure)
        if poison == "weights" and trainer.step == 3:
            weight.data[0] = math.nan
        return result

    step = trainer.optimizer.step
    monkeypatch.setattr(trainer.task, "loss", loss)
    monkeypatch.setattr(trainer.optimizer, "step", poisoned_step)
    assert trainer.run(run) == "non_finite"
    assert run.status["state"] == "non_finite"
    assert "step 4" in run.status["message"]
    assert [p.name for p in run.checkpoints.iterdir()] == ["step-00000002"]


@pytest.mark.parametrize("name", ["none", "linear", "cosine"])
def test_learning_rate(name):
    config = SchedulerConfig(name=name, warmup_steps=4)
    factors = [learning_rate_factor(config, step, 24) for step in range(24)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    middle = {"none": 1.0, "linear": 0.5, "cosine": 0.5}[name]
    assert factors[14] == pytest.approx(middle)
    assert all(a >= b for a, b in itertools.pairwise(factors[4:]))
    assert 0 < factors[-1] <= 1


def test_a_resumed_run_of_more_epochs_takes_the_longer_schedule(tiny, tmp_path):
    tiny["scheduler"] = {"name": "linear"}
    tiny["train"]["epochs"] = 1
    run = train(tiny, tmp_path / "run")
    steps = len(run.steps())
    tiny["train"]["epochs"] = 2
    config = config_from_dict(tiny)
    trainer = training.create_trainer(config, Silent())
    training.resumed_run(run, config, trainer)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(
        0.001
    )  # half of the way down, not at its end
    trainer.run(run)
    assert run.steps()[steps]["lr"] == pytest.approx(0.001)


def test_the_schedule_is_applied_and_recorded(tiny, tmp_path):
    tiny["scheduler"] = {"name": "linear", "warmup_steps": 2}
    tiny["train"]["max_steps"] = 6
    run = train(tiny, tmp_path / "run")
    expected = [0.001, 0.002, 0.002, 0.0015, 0.001, 0.0005]
    assert [step["lr"] for step in run.steps()] == pytest.approx(expected)
    assert run.epochs()[-1]["lr"] == pytest.approx(0.0005)
