"""Checkpoints: whole or not at all, and the newest whole one is used."""

import errno
import json
import os
import pickle
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from arsbench.errors import UserError
from arsbench.files import sha256_of
from arsbench.runs.checks import ANYTHING, TABLE, TRAINING_STATE
from arsbench.training.checkpoint import (
    latest_checkpoint,
    remove_leftovers,
    save_checkpoint,
)
from arsbench.training.state import random_states, restore_random_states

CPU = torch.device("cpu")


def model(value: float = 1.0) -> torch.nn.Module:
    module = torch.nn.Linear(3, 2)
    torch.nn.init.constant_(module.weight, value)
    return module


def test_saved_and_loaded_and_pruned(tmp_path):
    for step in (1, 2, 30):
        save_checkpoint(tmp_path, step, model(step), {"step": step, "x": torch.arange(3)}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000030"]
    checkpoint = latest_checkpoint(tmp_path, pytest.fail)
    assert checkpoint.step == 30
    other = model()
    checkpoint.load_weights(other)
    assert torch.equal(other.weight, model(30).weight)
    assert torch.equal(checkpoint.load_state(ANYTHING)["x"], torch.arange(3))


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_noticed_and_the_one_before_is_used(tmp_path, name, damage):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, model(step), {"step": step}, keep=2)
    file = tmp_path / "step-00000002" / name
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content if damage == "flip" else content[:-5])
    said = []
    assert latest_checkpoint(tmp_path, said.append).step == 1
    assert "step-00000002 is damaged" in said[0]


def weight(checkpoint) -> float:
    other = model()
    checkpoint.load_weights(other)
    return other.weight.mean().item()


class Killed(BaseException):
    """Stands for a process that dies, and cleans up nothing."""


def kill_at(monkeypatch, number: int) -> None:
    """Die before the `number`-th rename or removal of a checkpoint's directory (0-based)."""
    calls = []

    def killing(function):
        def call(path, *arguments, **options):
            if os.path.basename(path).startswith((".", "step-")) and os.path.isdir(path):
                if len(calls) == number:
                    raise Killed
                calls.append(path)
            return function(path, *arguments, **options)

        return call

    monkeypatch.setattr(os, "replace", killing(os.replace))
    monkeypatch.setattr(shutil, "rmtree", killing(shutil.rmtree))


def test_the_same_step_again_replaces_it_whole(tmp_path):
    save_checkpoint(tmp_path, 5, model(1), {}, keep=1)
    save_checkpoint(tmp_path, 5, model(2), {}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000005"]
    assert weight(latest_checkpoint(tmp_path, pytest.fail)) == 2


# Before the old one steps aside, before the new one takes its place, before the old one is removed.
@pytest.mark.parametrize(("number", "newest"), [(0, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_replacement_that_was_killed_can_be_repeated(tmp_path, monkeypatch, number, newest, resumed):
    save_checkpoint(tmp_path, 4, model(4), {}, keep=2)
    save_checkpoint(tmp_path, 5, model(1), {}, keep=2)
    with monkeypatch.context() as patch:
        kill_at(patch, number)
        with pytest.raises(Killed):
            save_checkpoint(tmp_path, 5, model(2), {}, keep=2)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 3
    checkpoint = latest_checkpoint(tmp_path, pytest.fail)  # a reader, which changes nothing
    assert (checkpoint.step, weight(checkpoint)) == (5, newest)
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    if resumed:
        remove_leftovers(tmp_path)
        assert weight(latest_checkpoint(tmp_path, pytest.fail)) == newest
        assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]
    save_checkpoint(tmp_path, 5, model(3), {}, keep=2)
    assert weight(latest_checkpoint(tmp_path, pytest.fail)) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]


def test_a_replacement_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 5, model(1), {}, keep=1)
    replace = os.replace

    def refuse(source, target):
        if os.path.basename(source).startswith(".writing-"):
            raise OSError(errno.EIO, "Input/output error")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(UserError, match=r"Input/output error.*earlier checkpoints are intact"):
            save_checkpoint(tmp_path, 5, model(2), {}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000005"]
    assert weight(latest_checkpoint(tmp_path, pytest.fail)) == 1


def test_what_stepped_aside_comes_back_for_a_damaged_one(tmp_path):
    save_checkpoint(tmp_path, 5, model(1), {}, keep=1)
    shutil.copytree(tmp_path / "step-00000005", tmp_path / ".replaced-step-00000005")
    (tmp_path / "step-00000005" / "state.pt").unlink()
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000005"]
    assert weight(latest_checkpoint(tmp_path, pytest.fail)) == 1


def test_the_spare_is_never_given_up_for_a_damaged_later_one(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, model(step), {}, keep=2)
    (tmp_path / "step-00000002" / "state.pt").unlink()
    # The run went back to step 1 and saves earlier than the damaged one.
    (tmp_path / "step-00000002").rename(tmp_path / "step-00000009")
    save_checkpoint(tmp_path, 3, model(3), {}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000001", "step-00000003"]


def test_other_peoples_files_are_left_alone(tmp_path):
    save_checkpoint(tmp_path, 1, model(), {}, keep=1)
    (tmp_path / "step-00000001 copy").mkdir()
    (tmp_path / "step-00000007.bak").write_text("")
    assert latest_checkpoint(tmp_path, pytest.fail).step == 1
    save_checkpoint(tmp_path, 2, model(), {}, keep=1)
    assert len(list(tmp_path.iterdir())) == 3


def test_nothing_and_nothing_whole(tmp_path):
    assert latest_checkpoint(tmp_path, pytest.fail) is None
    save_checkpoint(tmp_path, 1, model(), {}, keep=1)
    (tmp_path / "step-00000001" / "state.pt").unlink()
    with pytest.raises(UserError, match="every checkpoint"):
        latest_checkpoint(tmp_path, lambda text: None)


def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, model(), {}, keep=1)

    def full_disk(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("arsbench.training.checkpoint.write_safetensors", full_disk)
    with pytest.raises(UserError, match=r"No space.*earlier checkpoints are intact"):
        save_checkpoint(tmp_path, 2, model(), {}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot save the checkpoint"):
        save_checkpoint(tmp_path / "file" / "below", 2, model(), {}, keep=1)


def test_weights_of_another_model_are_refused(tmp_path):
    checkpoint = save_checkpoint(tmp_path, 1, model(), {}, keep=1)
    with pytest.raises(UserError, match="does not fit the model"):
        checkpoint.load_weights(torch.nn.Linear(4, 2))


def test_every_generator_goes_on_where_it_was(tmp_path):
    random.gauss(0, 1)
    np.random.standard_normal()  # leaves a second draw in store
    checkpoint = save_checkpoint(tmp_path, 1, model(), {"random": random_states(CPU)}, keep=1)

    def draw() -> list:
        return [random.random(), random.gauss(0, 1), *np.random.standard_normal(3), *torch.rand(3).tolist()]

    expected = draw()
    restore_random_states(checkpoint.load_state(ANYTHING)["random"], CPU)
    assert draw() == expected


def sign(directory) -> None:
    """Make the manifest fit whatever the files hold now."""
    names = ("model.safetensors", "state.pt")
    manifest = {"step": 1, "sha256": {name: sha256_of(directory / name) for name in names}}
    (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda sums: None,
        lambda sums: {},
        lambda sums: [],
        lambda sums: {"model.safetensors": sums["model.safetensors"]},
        lambda sums: sums | {"state.pt": None},
        lambda sums: sums | {"state.pt": ["x"]},
        lambda sums: sums | {"extra.bin": "0" * 64},
        lambda sums: sums | {"../../outside": "0" * 64},
        lambda sums: sums | {"/etc/hostname": "0" * 64},
    ],
)
def test_a_manifest_that_does_not_vouch_for_every_file_is_damaged(tmp_path, change):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, model(step), {"step": step}, keep=2)
    path = tmp_path / "step-00000002" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "sha256": change(manifest["sha256"])}))
    said = []
    assert latest_checkpoint(tmp_path, said.append).step == 1
    assert "step-00000002 is damaged" in said[0]


@pytest.mark.parametrize("content", ["[]", "5", "{}", '{"sha256": ' + "[" * 5000, "\xff"])
def test_a_manifest_of_another_shape_is_damaged(tmp_path, content):
    save_checkpoint(tmp_path, 1, model(), {}, keep=1)
    (tmp_path / "step-00000001" / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match="every checkpoint"):
        latest_checkpoint(tmp_path, lambda text: None)


def test_checksums_beside_the_checkpoint_are_not_followed(tmp_path):
    """A fitting checksum of a file elsewhere vouches for nothing."""
    save_checkpoint(tmp_path, 1, model(), {}, keep=1)
    (tmp_path / "other").write_text("x")
    path = tmp_path / "step-00000001" / "manifest.json"
    path.write_text(json.dumps({"step": 1, "sha256": {"../other": sha256_of(tmp_path / "other")}}))
    with pytest.raises(UserError, match="every checkpoint"):
        latest_checkpoint(tmp_path, lambda text: None)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_state_that_would_execute_something_is_refused_in_a_sentence(tmp_path):
    checkpoint = save_checkpoint(tmp_path, 1, model(), {}, keep=1)
    torch.save({"step": Bomb(tmp_path / "executed")}, checkpoint.path / "state.pt")
    sign(checkpoint.path)
    with pytest.raises(
        UserError, match=r"state\.pt is damaged: it is not a saved state.*remove .*step-0"
    ) as told:
        latest_checkpoint(tmp_path, pytest.fail).load_state(TABLE)
    assert "weights_only" not in str(told.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "content", [b"", b"text", b"PK\x03\x04 cut", pickle.dumps({"a": 1}), pickle.dumps([])]
)
def test_a_state_that_is_no_state_is_refused_in_a_sentence(tmp_path, content):
    checkpoint = save_checkpoint(tmp_path, 1, model(), {}, keep=1)
    (checkpoint.path / "state.pt").write_bytes(content)
    sign(checkpoint.path)
    with pytest.raises(UserError, match=r"state\.pt is damaged: .*; remove .*step-00000001 to use"):
        latest_checkpoint(tmp_path, pytest.fail).load_state(TRAINING_STATE)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    checkpoint = save_checkpoint(tmp_path, 1, model(float("nan")), {}, keep=1)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged: a weight is not finite"):
        checkpoint.load_weights(model())


def test_a_generators_position_outside_its_state_is_refused():
    """numpy would read other memory there."""
    states = random_states(CPU)
    states["numpy"][2] = 10**6
    with pytest.raises(ValueError, match="the position of numpy's generator is 1000000"):
        restore_random_states(states, CPU)


def test_files_are_hashed_while_they_are_written(tmp_path, monkeypatch):
    """And the weights are, to the byte, what safetensors writes."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with monkeypatch.context() as patch:
        patch.setattr("arsbench.training.checkpoint.sha256_of", None)
        checkpoint = save_checkpoint(tmp_path, 1, module, {"x": torch.arange(2000)}, keep=1)
    sums = json.loads((checkpoint.path / "manifest.json").read_text())["sha256"]
    assert sums == {name: sha256_of(checkpoint.path / name) for name in ("model.safetensors", "state.pt")}
    save_file(module.state_dict(), tmp_path / "other", metadata={"format": "pt"})
    assert (checkpoint.path / "model.safetensors").read_bytes() == (tmp_path / "other").read_bytes()


class Gpus:
    """Stands for torch.cuda on a machine with GPUs."""

    def __init__(self, monkeypatch, states):
        self.states = states
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: self.states[device.index or 0])
        monkeypatch.setattr(torch.cuda, "set_rng_state", self.set)
        for name in ("get_rng_state_all", "set_rng_state_all"):
            monkeypatch.setattr(torch.cuda, name, lambda *arguments: pytest.fail("it reads every GPU"))

    def set(self, state, index):
        self.states[index] = state


def test_only_the_generator_of_the_training_device_is_saved_and_restored(monkeypatch):
    gpus = Gpus(monkeypatch, ["a", "b"])
    states = random_states(torch.device("cuda", 1))
    gpus.states = ["c"]
    restore_random_states(states, torch.device("cuda"))  # on a machine with fewer GPUs
    assert gpus.states == ["b"]


def test_the_states_of_all_gpus_in_an_older_checkpoint_are_read(monkeypatch):
    gpus = Gpus(monkeypatch, ["c"])
    states = random_states(CPU)
    restore_random_states(states | {"cuda": ["a", "b"]}, torch.device("cuda"))
    assert gpus.states == ["a"]
    restore_random_states(states | {"cuda": []}, torch.device("cuda"))
    assert gpus.states == ["a"]


def test_a_run_on_the_cpu_leaves_the_gpu_alone(monkeypatch):
    gpus = Gpus(monkeypatch, None)  # whoever reads or sets a state fails
    states = random_states(CPU)
    restore_random_states(states | {"cuda": ["a"]}, CPU)
    assert gpus.states is None
