"""The trainer on the device: the losses of the CPU, and no step that waits for the device."""

import pytest
import torch

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.tasks import WikiText2Line
from arsbench.training.step import prefetched
from arsbench.training.trainer import Trainer


class Silent:
    def __getattr__(self, name):
        return lambda *arguments: None


def run_on(device, given, path):
    config = config_from_dict(given | {"experiment": given["experiment"] | {"device": device.type}})
    trainer = training.create_trainer(config, Silent())
    run = training.new_run(path, config, trainer)
    assert trainer.run(run) == "finished"
    return run


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 2e-3), ("bf16", 5e-2)])
def test_losses_are_those_of_the_cpu(precision, tolerance, device, tiny, tmp_path):
    tiny["train"] |= {"max_steps": 8, "precision": precision}
    on_device = run_on(device, tiny, tmp_path / "device").steps()
    tiny["train"] |= {"precision": "fp32"}
    on_cpu = run_on(torch.device("cpu"), tiny, tmp_path / "cpu").steps()
    for actual, peer in zip(on_device, on_cpu, strict=True):
        assert actual["loss"] == pytest.approx(peer["loss"], rel=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_repeats_bit_for_bit(precision, device, tiny, tmp_path):
    tiny["train"] |= {"max_steps": 8, "precision": precision}
    first, second = (run_on(device, tiny, tmp_path / name).steps() for name in ("first", "second"))
    assert [step["loss"] for step in first] == [step["loss"] for step in second]
    assert [step["grad_norm"] for step in first] == [step["grad_norm"] for step in second]


@pytest.mark.parametrize("name", ["ARS", "AdaRMSuon", "Muon", "AdaMuon", "AdamW"])
def test_a_step_does_not_wait(name, device, tiny):
    if device.type != "cuda":
        pytest.skip("only CUDA detects waiting")
    tiny["optimizer"] = {"name": name, "lr": 0.001}
    config = config_from_dict(tiny)
    trainer = Trainer(config, WikiText2Line(config), device, Silent())
    batches = prefetched(trainer.task.training_steps(0), device)
    for _ in range(2):  # creating constants may wait
        trainer._train_step(0, next(batches))
    step = next(batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._train_step(0, step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
