"""Which optimizer a configuration names, and the keys that go with it."""

import json

import pytest

from arsbench.config import effective, load_config, preset_names
from arsbench.config.hyperparameters import BUILT_IN, check_named_keys, has_key
from arsbench.errors import UserError


def load(tmp_path, table, *overrides):
    """The configuration of a file with that optimizer table, and what was said of it."""
    path, said = tmp_path / "mine.json", []
    path.write_text(json.dumps({"optimizer": table}))
    return load_config(str(path), overrides, said.append), said


@pytest.mark.parametrize("key", ["momentum", "adam_lr"])
def test_a_key_named_for_an_optimizer_without_it_is_refused_with_those_it_has(tmp_path, key):
    optimizer = "ARS" if key == "momentum" else "AdamW"
    with pytest.raises(UserError) as error:
        load(tmp_path, {"name": optimizer}, f"optimizer.{key}=0.5")
    assert f"{optimizer} has no optimizer.{key}; its keys are lr, betas, eps, weight_decay" in str(
        error.value
    )
    with pytest.raises(UserError, match=rf"{optimizer} has no optimizer\.{key}"):
        load(tmp_path, {"name": "Muon"}, f"optimizer.{key}=0.5", f"optimizer.name={optimizer}")


def test_a_file_may_have_keys_of_other_built_in_optimizers(tmp_path):
    config, said = load(tmp_path, {"name": "AdamW", "lr": 0.5, "k": 3, "momentum": 0.5}, "optimizer.eps=1e-5")
    assert (config.optimizer.lr, config.optimizer.eps, said) == (0.5, 1e-5, [])
    config, said = load(tmp_path, {"name": "AdamW", "lr": 0.5, "k": 3}, "optimizer.name=AdamW")
    assert (config.given["optimizer"], said) == ({"name": "AdamW", "lr": 0.5, "k": 3}, [])


@pytest.mark.parametrize("name", BUILT_IN)
def test_another_optimizer_than_the_files_starts_from_its_own_defaults(tmp_path, name):
    before = "AdamW" if name == "ARS" else "ARS"
    table = {"name": before, "lr": 0.25, "betas": [0.5, 0.6], "weight_decay": 0.75, "k": 7}
    config, (sentence,) = load(tmp_path, table, "optimizer.weight_decay=0.5", f"optimizer.name={name}")
    expected = {"name": name} | BUILT_IN[name] | {"weight_decay": 0.5}
    assert config.given["optimizer"] == expected
    run = effective(config)["optimizer"]
    assert {key: run[key] for key in expected} == expected
    assert f"optimizer.name is {name}; " in sentence
    assert f" are for {before} and are dropped; {name} starts from its defaults: " in sentence
    assert f"lr {BUILT_IN[name]['lr']}" in sentence
    assert "\n" not in sentence


def test_a_file_without_a_name_is_for_the_default_optimizer(tmp_path):
    assert load(tmp_path, {"lr": 0.25}, "optimizer.name=ARS")[0].optimizer.lr == 0.25
    assert load(tmp_path, {"lr": 0.25}, "optimizer.name=Muon")[0].optimizer.lr == 1e-3


def test_to_and_from_another_packages_optimizer(tmp_path):
    ours = {"name": "ARS", "lr": 0.25}
    theirs = {"name": "torch.optim:SGD", "lr": 0.5, "nesterov": True}
    config, (sentence,) = load(tmp_path, ours, "optimizer.name=torch.optim:SGD", "optimizer.momentum=0.9")
    assert config.given["optimizer"] == {"name": "torch.optim:SGD", "momentum": 0.9}
    assert sentence.endswith("torch.optim:SGD starts from its defaults")
    config, said = load(tmp_path, theirs, "optimizer.name=torch.optim:SGD", "optimizer.lr=0.1")
    assert (config.given["optimizer"], said) == (theirs | {"lr": 0.1}, [])
    config, (sentence,) = load(tmp_path, theirs, "optimizer.name=AdamW")
    assert config.given["optimizer"] == {"name": "AdamW"} | BUILT_IN["AdamW"]


def test_a_run_that_began_with_the_files_keys_goes_on_with_them(tmp_path):
    """As a version before this one began it."""
    path = tmp_path / "mine.json"
    path.write_text('{"optimizer": {"name": "ARS", "lr": 0.25, "k": 7}}')
    overrides = ["optimizer.name=AdamW", "optimizer.momentum=0.5"]
    begun = {"optimizer": {"name": "AdamW", "lr": 0.25, "k": 7, "momentum": 0.5}}
    said = []
    assert load_config(str(path), overrides, said.append, begun).given == begun
    assert not said
    for other in ({}, {"optimizer": {"name": "AdamW"} | BUILT_IN["AdamW"]}):
        with pytest.raises(UserError, match=r"AdamW has no optimizer\.momentum"):
            load_config(str(path), overrides, begun=other)
        assert load_config(str(path), overrides[:1], begun=other).optimizer.lr == 1e-3


def test_a_file_without_the_section_stays_without_it(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"train": {"epochs": 1}}')
    assert load_config(str(path), ["train.epochs=2"]).given == {"train": {"epochs": 2}}


def test_the_defaults_are_no_ones_to_change(tmp_path):
    load(tmp_path, {}, "optimizer.name=AdamW")[0].given["optimizer"]["betas"][0] = 0.5
    assert BUILT_IN["AdamW"]["betas"] == [0.9, 0.999]


@pytest.mark.parametrize("value", ["Muom", "3", "[1]", "null"])
def test_a_name_that_is_none_is_refused_at_once(tmp_path, value):
    words = "must be a built-in optimizer or package.module:Class; did you mean 'Muon'?"
    with pytest.raises(UserError) as error:
        load(tmp_path, {}, f"optimizer.name={value}")
    assert (words if value == "Muom" else "must be a string") in str(error.value)
    with pytest.raises(UserError, match="must be a built-in optimizer"):
        load(tmp_path, {"name": "Muom"})


def test_other_packages_keys_are_for_their_constructors_to_refuse():
    check_named_keys("torch.optim:SGD", ["nesterov", "anything"])
    assert has_key("torch.optim:SGD", "anything")
    assert not has_key("AdamW", "k")


@pytest.mark.parametrize("name", preset_names())
def test_presets_name_keys_that_their_optimizer_has(name):
    table = load_config(name).given["optimizer"]
    check_named_keys(table["name"], table)
