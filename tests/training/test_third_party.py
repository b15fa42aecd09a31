"""Real third-party optimizers, which `make test-all` installs, train, resume bitwise and are compared."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from arsbench_cli.main import cli
from click.testing import CliRunner
from safetensors.torch import load_file

from arsbench import training
from arsbench.errors import UserError

pytestmark = pytest.mark.slow

WORKING = {
    "SGD": {"name": "torch.optim:SGD", "lr": 0.1, "momentum": 0.9},
    "LBFGS": {"name": "torch.optim:LBFGS", "lr": 0.1, "max_iter": 5, "groups": "one"},
    "LBFGS and AdamW": {"name": "torch.optim:LBFGS", "lr": 0.1, "max_iter": 5, "groups": "rest_adamw"},
    "Muon and AdamW": {"name": "torch.optim:Muon", "lr": 0.01, "groups": "rest_adamw", "adam_lr": 0.003},
    "AdamWScheduleFree": {"name": "schedulefree:AdamWScheduleFree", "lr": 0.01, "warmup_steps": 3},
    "AdamWScheduleFreeClosure": {"name": "schedulefree:AdamWScheduleFreeClosure", "lr": 0.01},
    "AdamWScheduleFree and AdamW": {
        "name": "schedulefree:AdamWScheduleFree",
        "lr": 0.01,
        "groups": "rest_adamw",
    },
    "SOAP": {"name": "pytorch_optimizer:SOAP", "lr": 0.003},
    "Lion": {"name": "pytorch_optimizer:Lion", "lr": 0.001},
    "SAM": {"name": "pytorch_optimizer:SAM", "base": "torch.optim:AdamW", "lr": 0.003, "rho": 0.05},
    "SAM of SOAP, and AdamW": {
        "name": "pytorch_optimizer:SAM",
        "base": "pytorch_optimizer:SOAP",
        "groups": "rest_adamw",
        "lr": 0.003,
    },
    "SAM of AdamWScheduleFree": {
        "name": "pytorch_optimizer:SAM",
        "base": "schedulefree:AdamWScheduleFree",
        "lr": 0.003,
    },
    "Lookahead": {"name": "pytorch_optimizer:Lookahead", "base": "torch.optim:AdamW", "lr": 0.003, "k": 3},
    "ScheduleFreeWrapper": {
        "name": "pytorch_optimizer:ScheduleFreeWrapper",
        "base": "torch.optim:RMSprop",
        "lr": 0.003,
    },
    "SPlus": {"name": "pytorch_optimizer:SPlus", "lr": 0.003},
    "heavyball's AdamW": {"name": "heavyball:AdamW", "lr": 0.003},
    "heavyball's Muon": {"name": "heavyball:Muon", "lr": 0.003},
    "heavyball's SOAP": {"name": "heavyball:SOAP", "lr": 0.003},
    "heavyball's SFAdamW": {"name": "heavyball:SFAdamW", "lr": 0.003},
    "heavyball's PSGDKron": {"name": "heavyball:PSGDKron", "lr": 0.003},  # has state in float64
}

PASSES = {
    "LBFGS": 5,
    "LBFGS and AdamW": 5,
    "SAM": 2,
    "SAM of SOAP, and AdamW": 2,
    "SAM of AdamWScheduleFree": 2,
}

REFUSED = {
    # It neither is a torch.optim.Optimizer nor keeps its mode in its state.
    "schedulefree's wrapper": (
        {"name": "schedulefree:ScheduleFreeWrapper", "base": "torch.optim:SGD", "lr": 0.1},
        "is not a torch.optim.Optimizer",
    ),
    # They want the model itself.
    "GSAM": (
        {"name": "pytorch_optimizer:GSAM", "base": "torch.optim:SGD", "lr": 0.1},
        "missing 2 required positional arguments: 'model' and 'rho_scheduler'",
    ),
    "WSAM": (
        {"name": "pytorch_optimizer:WSAM", "base": "torch.optim:SGD", "lr": 0.1},
        "missing 1 required positional argument: 'params'",
    ),
    # Its train() and eval() call those of its base, and most have none.
    "heavyball's SAM of AdamW": (
        {"name": "heavyball:SAMWrapper", "base": "heavyball:AdamW", "lr": 0.003},
        "'AdamW' object has no attribute 'train'",
    ),
    "heavyball's SAM of torch's AdamW": (
        {"name": "heavyball:SAMWrapper", "base": "torch.optim:AdamW", "lr": 0.003},
        "AdamW is not a HeavyBall optimizer",
    ),
    "Muon alone": ({"name": "torch.optim:Muon", "lr": 0.01}, "Muon only supports 2D parameters"),
    "SparseAdam": ({"name": "torch.optim:SparseAdam", "lr": 0.01}, "needs sparse gradients"),
    "LBFGS with two groups": ({"name": "torch.optim:LBFGS"}, "LBFGS doesn't support per-parameter options"),
}


@pytest.fixture
def configured(modular: dict, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict], dict]:
    """The configuration of a run with an optimizer; skips where its package is missing."""

    def configure(optimizer: dict[str, Any]) -> dict[str, Any]:
        for name in filter(None, (optimizer["name"], optimizer.get("base"))):
            package = name.split(":")[0].split(".")[0] if ":" in name else "torch"
            pytest.importorskip(package, reason=f"{package} is not installed; `make test-all` installs it")
            if package == "heavyball":  # it would compile all of its functions, which takes a minute
                monkeypatch.setattr(importlib.import_module("heavyball.utils"), "compile_mode", None)
        train = modular["train"] | {"epochs": 3, "ckpt_every_steps": 4}
        return modular | {"optimizer": optimizer, "scheduler": {"name": "cosine"}, "train": train}

    return configure


@pytest.mark.parametrize("cell", WORKING)
def test_it_trains_resumes_bitwise_and_is_compared(configured, train, tmp_path, cell):
    given = configured(WORKING[cell])
    undisturbed = train(given, tmp_path / "undisturbed")
    first, *_, last = undisturbed.run.steps()
    assert last["grad_norm"] > 0
    assert first["forward_backward_passes"] == PASSES.get(cell, 1)
    for name, event in (("crashed", {"crash_before": 10}), ("stopped", {"interrupt_after": 7})):
        train(given, tmp_path / name, **event)
        train(given, tmp_path / name, resume=True).assert_same(undisturbed)
    recorded = undisturbed.run.epochs()[-1]["evaluation"]["validation"]
    assert training.evaluate_run(undisturbed.run, ["validation"], pytest.fail)["validation"] == recorded
    train(configured({"name": "AdamW", "lr": 0.003}), tmp_path / "adamw")
    runs = [str(tmp_path / "adamw"), str(tmp_path / "undisturbed")]
    compared = CliRunner().invoke(cli, ["compare", *runs, "--json"], catch_exceptions=False)
    assert compared.exit_code == 0
    contenders = [result["contender"] for result in json.loads(compared.stdout)["results"]]
    assert contenders == ["AdamW", WORKING[cell]["name"]]


@pytest.mark.parametrize("cell", REFUSED)
def test_what_cannot_be_is_refused_with_the_reason(configured, train, tmp_path, cell):
    optimizer, reason = REFUSED[cell]
    with pytest.raises(UserError, match=reason):
        train(configured(optimizer), tmp_path / "run")


def test_adahessian_needs_another_backward_pass(configured, train, tmp_path):
    """Its authors' closure calls backward(create_graph=True)."""
    given = configured({"name": "pytorch_optimizer:AdaHessian", "lr": 0.01})
    with pytest.raises(RuntimeError, match="does not require grad"):
        train(given, tmp_path / "run")


def test_heavyballs_sam_resumes_bitwise_at_a_constant_learning_rate(configured, train, tmp_path):
    """With a schedule it cannot: loading a state gives its base new groups, which no schedule reaches."""
    given = configured({"name": "heavyball:SAMWrapper", "base": "heavyball:SFAdamW", "lr": 0.003})
    given["scheduler"] = {"name": "none"}
    undisturbed = train(given, tmp_path / "undisturbed")
    train(given, tmp_path / "run", crash_before=10)
    train(given, tmp_path / "run", resume=True).assert_same(undisturbed)


def test_a_schedule_free_language_model_is_exported_and_sampled_at_its_averaged_weights(
    configured, train, tiny, tmp_path
):
    tiny["optimizer"] = configured({"name": "schedulefree:AdamWScheduleFree", "lr": 0.01})["optimizer"]
    undisturbed = train(tiny, tmp_path / "undisturbed")
    train(tiny, tmp_path / "run", interrupt_after=5)
    done = train(tiny, tmp_path / "run", resume=True)
    done.assert_same(undisturbed)
    averaged = done.weights()
    assert not any(torch.equal(averaged[name], p) for name, p in done.trainer.model.named_parameters())
    _, model = training.load_model(done.run, pytest.fail)
    assert all(torch.equal(averaged[name], p) for name, p in model.named_parameters())
    training.export_run(done.run, tmp_path / "exported", pytest.fail)
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    name = "model.embed_tokens.weight"
    assert torch.equal(exported[name], averaged[name])
    arguments = {"prompt": "the", "tokens": 5, "temperature": 0, "seed": 0, "warn": pytest.fail}
    assert isinstance(training.sample_run(done.run, **arguments), str)
    recorded = done.run.epochs()[-1]["evaluation"]["validation"]
    assert training.evaluate_run(done.run, ["validation"], pytest.fail)["validation"] == recorded
