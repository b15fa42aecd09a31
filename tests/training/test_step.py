"""What third-party optimizers do that built-in ones do not: modes, several passes, states of any kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from arsbench import training
from arsbench.errors import UserError

THEIRS = '''
import torch

class ScheduleFree(torch.optim.Optimizer):
    """SGD at y = 0.1 z + 0.9 x; x, the mean of all z, is evaluated, and as in schedulefree not kept."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr, "train_mode": False, "k": 0})

    @torch.no_grad()
    def _switch(self, mode, weight):
        for group in self.param_groups:
            if group["train_mode"] != mode:
                group["train_mode"] = mode
                for p in group["params"]:
                    if "z" in self.state[p]:
                        p.lerp_(self.state[p]["z"], weight)

    def train(self):
        self._switch(True, 1 - 0.9)

    def eval(self):
        self._switch(False, 1 - 1 / 0.9)

    @torch.no_grad()
    def step(self, closure):
        with torch.enable_grad():
            closure()
        for group in self.param_groups:
            assert group["train_mode"], "not in training mode"
            share = 1 / (group["k"] + 1)
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                p.lerp_(z, share)
                p.add_(p.grad, alpha=group["lr"] * (0.9 * (1 - share) - 1))
                z.sub_(p.grad, alpha=group["lr"])
            group["k"] += 1

class NeverCalls(torch.optim.SGD):
    def step(self, closure=None):
        super().step()

class KeepsItself(torch.optim.SGD):
    def step(self, closure=None):
        super().step(closure)
        self.param_groups[0]["kept"] = self.zero_grad

class Double(torch.optim.SGD):
    """Keeps the sum of all gradients in float64."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                total = self.state[p].setdefault("total", torch.zeros_like(p, dtype=torch.float64))
                total += p.grad.double() / 3
                p.sub_(group["lr"] * total)

class Dropping(torch.optim.SGD):
    """Changes the gradients and drops them, as several packages do."""

    def step(self, closure=None):
        closure()
        super().step()
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.zero_()
                p.grad = None
'''


@pytest.fixture
def modal(modular: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A configuration of a schedule-free optimizer."""
    (tmp_path / "their_modes.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    modular["optimizer"] = {"name": "their_modes:ScheduleFree", "lr": 0.1}
    return modular


def test_a_checkpoint_has_the_weights_that_are_evaluated(train, modal, tmp_path):
    done = train(modal, tmp_path / "run")
    state, saved = done.state(), done.weights()
    for name, y in done.trainer.model.named_parameters():
        assert torch.equal(state["training_weights"][name], y)
        x, z = saved[name], done.trainer.optimizer.state[y]["z"]
        torch.testing.assert_close(0.1 * z + 0.9 * x, y.detach())
        assert not torch.equal(x, y)
    # What `arsbench eval` measures is what the epoch recorded, and not what the training weights give.
    recorded = done.run.epochs()[-1]["evaluation"]["validation"]
    assert training.evaluate_run(done.run, ["validation"], pytest.fail)["validation"] == recorded
    split = done.trainer.task.evaluation_splits()["validation"]
    inputs, targets = next(iter(split.batches()))
    with torch.no_grad():
        at_y = torch.nn.functional.cross_entropy(done.trainer.model(inputs), targets).item()
    assert at_y != recorded["all"]["loss"]


@pytest.mark.parametrize("event", [{"crash_before": 10}, {"interrupt_after": 10}, {"interrupt_after": 11}])
def test_a_schedule_free_run_resumes_bitwise(train, modal, tmp_path, event):
    """A rounded round trip from the training weights and back would show."""
    modal["train"] |= {"ckpt_every_steps": 4, "eval_every_steps": 5}
    modal["scheduler"] = {"name": "cosine"}
    undisturbed = train(modal, tmp_path / "undisturbed")
    train(modal, tmp_path / "run", **event)
    train(modal, tmp_path / "run", resume=True).assert_same(undisturbed)


def test_evaluations_and_checkpoints_leave_no_trace(train, modal, tmp_path):
    done = train(modal, tmp_path / "run")
    modal["train"] |= {"eval_every_steps": 2, "ckpt_every_steps": 1}
    often = train(modal, tmp_path / "often")
    assert [step["loss"] for step in often.run.steps()] == [step["loss"] for step in done.run.steps()]


def test_the_rest_in_a_composite_is_evaluated_where_it_is(train, modal, tmp_path):
    modal["optimizer"] |= {"groups": "rest_adamw", "adam_lr": 0.01}
    undisturbed = train(modal, tmp_path / "undisturbed")
    assert [group["name"] for group in undisturbed.trainer.groups] == ["matrix", "adamw"]
    saved, live = undisturbed.weights(), dict(undisturbed.trainer.model.named_parameters())
    matrices, rest = undisturbed.trainer.optimizer.param_groups
    assert not any(torch.equal(saved[name], live[name]) for name in matrices["param_names"])
    assert all(torch.equal(saved[name], live[name]) for name in rest["param_names"])
    train(modal, tmp_path / "run", interrupt_after=8)
    train(modal, tmp_path / "run", resume=True).assert_same(undisturbed)


def test_other_checkpoints_hold_their_weights_once(train, modular, tmp_path):
    assert "training_weights" not in train(modular, tmp_path / "run").state()


def test_lbfgs_counts_every_pass_and_records_the_first_loss(train, modular, tmp_path):
    lbfgs = {"name": "torch.optim:LBFGS", "groups": "one", "lr": 0.1, "max_iter": 4}
    modular["train"] |= {"ckpt_every_steps": 4, "epochs": 2}
    undisturbed = train(modular | {"optimizer": lbfgs}, tmp_path / "undisturbed")
    steps = undisturbed.run.steps()
    assert steps[0]["forward_backward_passes"] == 4
    passes = sum(step["forward_backward_passes"] for step in steps if step["epoch"] == 1)
    assert undisturbed.run.epochs()[0]["forward_backward_passes"] == passes
    sgd = train(modular | {"optimizer": {"name": "torch.optim:SGD", "lr": 0.1}}, tmp_path / "sgd")
    assert steps[0]["loss"] == sgd.run.steps()[0]["loss"]
    train(modular | {"optimizer": lbfgs}, tmp_path / "run", crash_before=10)
    train(modular | {"optimizer": lbfgs}, tmp_path / "run", resume=True).assert_same(undisturbed)


def test_state_in_float64_resumes_bitwise(train, modal, tmp_path):
    modal["optimizer"] = {"name": "their_modes:Double", "lr": 0.01}
    undisturbed = train(modal, tmp_path / "undisturbed")
    train(modal, tmp_path / "run", interrupt_after=8)
    train(modal, tmp_path / "run", resume=True).assert_same(undisturbed)


def test_a_state_that_no_checkpoint_can_hold_is_refused_after_one_step(train, modal, tmp_path):
    modal["optimizer"] = {"name": "their_modes:KeepsItself", "lr": 0.1}
    with pytest.raises(UserError, match="the state of the optimizer their_modes:KeepsItself cannot be saved"):
        train(modal, tmp_path / "run", crash_before=1)


def test_a_step_that_never_calls_its_closure_is_refused(train, modal, tmp_path):
    modal["optimizer"] = {"name": "their_modes:NeverCalls", "lr": 0.1}
    sentence = "optimizer.name is 'their_modes:NeverCalls', whose step.* did not call it; let step"
    with pytest.raises(UserError, match=sentence):
        train(modal, tmp_path / "run")


def test_the_gradient_norm_is_that_before_the_step_changes_the_gradients(train, modal, tmp_path):
    norms = []
    for name in ("torch.optim:SGD", "their_modes:Dropping"):
        modal["optimizer"] = {"name": name, "lr": 0.1}
        steps = train(modal, tmp_path / name.split(":")[1]).run.steps()
        norms.append([step["grad_norm"] for step in steps])
    assert norms[0] == norms[1]
    assert min(norms[0]) > 0
