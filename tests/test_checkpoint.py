"""Checkpoints: whole or not at all, and the newest whole one is used."""

import random

import numpy as np
import pytest
import torch

from arsbench.checkpoint import latest_checkpoint, random_states, restore_random_states, save_checkpoint
from arsbench.errors import UserError


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
    assert torch.equal(checkpoint.load_state()["x"], torch.arange(3))


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


def test_the_same_step_again_replaces_it_whole(tmp_path):
    save_checkpoint(tmp_path, 5, model(1), {}, keep=1)
    save_checkpoint(tmp_path, 5, model(2), {}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000005"]
    # A crash between the two renames leaves the old one aside.
    (tmp_path / "step-00000005").rename(tmp_path / ".replaced-step-00000005")
    checkpoint = latest_checkpoint(tmp_path, pytest.fail)
    other = model()
    checkpoint.load_weights(other)
    assert torch.equal(other.weight, model(2).weight)


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

    monkeypatch.setattr("arsbench.checkpoint.save_model", full_disk)
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
    checkpoint = save_checkpoint(tmp_path, 1, model(), {"random": random_states()}, keep=1)

    def draw() -> list:
        return [random.random(), random.gauss(0, 1), *np.random.standard_normal(3), *torch.rand(3).tolist()]

    expected = draw()
    restore_random_states(checkpoint.load_state()["random"])
    assert draw() == expected
