"""Configurations: what is read, and what is refused with which words."""

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from arsbench.config import SECTIONS, config_from_dict, effective, load_config, preset_names
from arsbench.config.document import document
from arsbench.errors import UserError

SEED_REPORT = Path(__file__).parents[1] / "report" / "seed_report.md"


def seed_block() -> dict:
    text = SEED_REPORT.read_text(encoding="utf-8")
    return json.loads(text.split("```json\n")[1].split("```")[0])


def test_the_seed_reports_block_is_a_configuration(tmp_path):
    path = tmp_path / "seed.json"
    path.write_text(json.dumps(seed_block()))
    config = load_config(str(path), ["experiment.device=cpu"])
    assert config.experiment.device == "cpu"
    assert config.optimizer.k == 5
    assert config.given["model"] == seed_block()["model"]


def test_the_seed_preset_is_the_reports_block_key_for_key():
    given = load_config("seed").given
    assert given == seed_block()
    assert json.dumps(given) == json.dumps(seed_block())  # in the same order too


def test_seed_mini_differs_from_the_seed_in_data_device_and_label_only():
    seed, mini = effective(load_config("seed")), effective(load_config("seed-mini"))
    differing = {f"{s}.{k}" for s in seed for k in seed[s] if seed[s][k] != mini[s][k]}
    assert differing == {
        "experiment.tasks",
        "experiment.device",
        "data.tokenizer_path",
        "data.source",
        "data.train_file",
        "data.validation_file",
    }
    assert load_config("seed-mini").task == "wikitext2_line (mini)"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads(name):
    load_config(name)


def test_toml_and_json_mean_the_same(tmp_path):
    (tmp_path / "a.toml").write_text('[optimizer]\nname = "Muon"\nlr = 1\nbetas = [0, 0.5]\n')
    (tmp_path / "a.json").write_text('{"optimizer": {"name": "Muon", "lr": 1, "betas": [0, 0.5]}}')
    toml, json_ = (load_config(str(tmp_path / f"a.{form}")) for form in ("toml", "json"))
    assert toml == json_
    assert isinstance(toml.optimizer.lr, float)


def test_overrides_are_given_values_and_take_json_or_strings():
    config = load_config("demo", ["train.max_steps=7", "data.path=some/where", "optimizer.betas=[0.8, 0.9]"])
    assert (config.train.max_steps, config.data.path, config.optimizer.betas) == (7, "some/where", [0.8, 0.9])
    assert config.given["train"]["max_steps"] == 7
    assert load_config("demo", ["train.max_steps=null"]).train.max_steps is None


def test_another_packages_optimizer_may_have_keys_of_its_own():
    overrides = ["optimizer.name=torch.optim:SGD", "optimizer.nesterov=true", "optimizer.eps=[1e-30, 1e-3]"]
    config = load_config("demo", overrides)
    assert effective(config)["optimizer"]["nesterov"] is True
    assert effective(config)["optimizer"]["eps"] == [1e-30, 1e-3]  # a list, unlike the built-in key
    assert (
        "rho" not in effective(config)["optimizer"]
    )  # the preset's keys were meant for the preset's optimizer
    with pytest.raises(UserError, match=r"unknown key optimizer\.nesterov"):
        load_config("demo", ["optimizer.nesterov=true"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.embeding_size=3", "unknown key model.embeding_size; did you mean 'model.embedding_size'?"),
        ("trian.epochs=1", "unknown section 'trian'; did you mean 'train'?"),
        ("model.embedding_size=0", "model.embedding_size is 0; it must be ≥ 1"),
        ("optimizer.ns_steps=-1", "optimizer.ns_steps is -1; it must be ≥ 0"),
        ("optimizer.k=2.5", "optimizer.k is 2.5; it must be a whole number"),
        ("optimizer.k=true", "optimizer.k is True; it must be a whole number"),
        ("optimizer.lr=NaN", "optimizer.lr is nan; it must be finite"),
        ("optimizer.lr=fast", "optimizer.lr is 'fast'; it must be a number"),
        ("optimizer.betas=[0.9]", "it must be a list of two numbers"),
        (
            "optimizer.betas=[0.9, 1.0]",
            "optimizer.betas is [0.9, 1.0]; it must be a list of two numbers, each < 1",
        ),
        ("experiment.device=tpu", "experiment.device is 'tpu'; it must be one of auto, cpu, cuda"),
        ("experiment.tasks=[]", "experiment.tasks is []; it must be a list of strings"),
        ('experiment.tasks=["a", "b"]', "name one task"),
        ("model.head_dim=7", "model.head_dim is 7; rotary embedding needs an even number"),
        ("model.num_kv_heads=2", "model.num_kv_heads is 2; it must divide num_heads, 3"),
        ("train.grad_clip=0", "train.grad_clip is 0; it must be > 0"),
        ("data.path=3", "data.path is 3; it must be a string"),
        (
            "optimizer.lr=" + "[" * 5000,
            "is refused: it is nested more than 100 levels deep; correct",
        ),
        ('optimizer.betas={"a": 1, "a": 2}', "is refused: the key 'a' appears twice in one object"),
        ("data.path=a\udcff", "is refused: the text 'data.path=a\\udcff' holds a lone surrogate"),
        (r'experiment.tasks=["a\ud800"]', "holds a lone surrogate"),
        (r'experiment.tasks=["wikitext2_line (a\nb)"]', "it must be one line of ordinary characters"),
        ("data.path=a\nb", r"data.path is 'a\nb'; it must be one line of ordinary characters"),
        ("optimizer.name=" + "x" * 9999, " ...; it must be a built-in optimizer"),
        ("optimizer.ns_steps=100000000000", "optimizer.ns_steps is 100000000000; it must be ≤ 100"),
        ("optimizer.k=10001", "it must be ≤ 10,000"),
        ("model.num_layers=10001", "it must be ≤ 10,000"),
        ("model.embedding_size=100000000000", "it must be ≤ 1,000,000,000"),
        ("data.modulus=1000000000", "data.modulus is 1000000000; it must be ≤ 10,000"),
        ("train.epochs=1" + "0" * 400, "it must be ≤ 1,000,000"),
        ("train.epochs", "must have the form section.key=value"),
        ("train=3", "must have the form section.key=value"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(override, words):
    with pytest.raises(UserError) as error:
        load_config("demo", [override])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.num_layers=2", "model.num_layers is 2; the model one_layer needs 1"),
        ("model.num_kv_heads=2", "model.num_kv_heads is 2; the model one_layer needs null"),
        ("model.tie_word_embeddings=true", "tie_word_embeddings is true; the model one_layer needs false"),
        ("data.modulus=1", "data.modulus is 1; it must be ≥ 2"),
        ("data.train_fraction=1", "data.train_fraction is 1; it must be < 1"),
        ("data.train_fraction=0", "data.train_fraction is 0; it must be > 0"),
        ("train.stop_at=soon", "train.stop_at is 'soon'; it must be a number"),
    ],
)
def test_what_modular_addition_cannot_have(override, words):
    with pytest.raises(UserError) as error:
        load_config("mod_addition", [override])
    assert words in str(error.value)


def test_only_rotary_heads_must_be_even():
    assert load_config("mod_addition", ["model.head_dim=7"]).model.head_dim == 7


def test_adaptive_sync_needs_a_period():
    with pytest.raises(UserError, match=r"optimizer\.k is 1"):
        load_config("demo", ["optimizer.adaptive_sync=true", "optimizer.k=1"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"groups": "one"}, "optimizer.groups is 'one', which is for third-party .* 'ARS'; leave groups out"),
        ({"base": "torch.optim:SGD"}, "optimizer.base is 'torch.optim:SGD', which is for third-party"),
    ],
)
def test_built_in_optimizers_choose_their_parameters_themselves(table, words):
    with pytest.raises(UserError, match=words):
        config_from_dict({"optimizer": {"name": "ARS"} | table})
    assert config_from_dict({"optimizer": {"groups": "split", "base": None}}).optimizer.groups == "split"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.groups=two", "optimizer.groups is 'two'; it must be one of split, one, rest_adamw"),
        ("optimizer.base=3", "optimizer.base is 3; it must be a string"),
    ],
)
def test_which_parameters_a_third_party_optimizer_gets(override, words):
    third_party = ["optimizer.name=their.package:SAM", "optimizer.lr=0.1"]
    with pytest.raises(UserError, match=words):
        load_config("demo", [*third_party, override])
    config = load_config("demo", [*third_party, "optimizer.groups=one", "optimizer.base=torch.optim:SGD"])
    assert (config.optimizer.groups, config.optimizer.base) == ("one", "torch.optim:SGD")
    assert effective(config)["optimizer"]["base"] == "torch.optim:SGD"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"{", "is not valid JSON"),
        ("a.toml", b"[", "is not valid TOML"),
        ("a.json", b"[1]", "holds a list; it must be an object"),
        ("a.json", b'{"model": 3}', "model is 3; it must be a table"),
        ("a.json", b"\xff\xfe\x00", "cannot read the configuration"),
        ("a.json", b'{"train": ' + b"[" * 50_000, "is refused: it is nested more than 100 levels deep"),
        (
            "a.toml",
            b"a = " + b"[" * 50_000 + b"]" * 50_000,
            "more than 100 levels deep; correct it there",
        ),
        ("a.json", b'{"train": {"epochs": 1, "epochs": 2}}', "the key 'epochs' appears twice"),
        ("a.json", rb'{"experiment": {"tasks": ["\ud800"]}}', "holds a lone surrogate"),
        ("a.json", b'{"experiment": {"tasks": ["wikitext2_line (a\\nb)"]}}', "it must be one line"),
        ("a.toml", b"[optimizer]\nlr = 0x" + b"F" * 50_000, "a whole number has more than 8192 bits"),
        ("a.json", b" " * 2**20 + b"{}", "cannot read the configuration .*: it is larger than 1 MiB"),
    ],
)
def test_a_malformed_file_is_said_so(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        load_config(str(path))


def test_an_override_cannot_mend_a_section_that_is_no_table(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"train": 5}')
    with pytest.raises(UserError, match=r"train is 5 in .*a\.json; it must be a table"):
        load_config(str(path), ["train.epochs=1"])
    with pytest.raises(UserError, match="it must be finite"):
        load_config("demo", ["optimizer.lr=1" + "0" * 400])


def test_a_missing_file_names_the_nearest_preset(tmp_path):
    with pytest.raises(UserError, match="did you mean 'seed-mini"):
        load_config("sed-mini")
    with pytest.raises(UserError, match="cannot read the configuration"):
        load_config(str(tmp_path))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    for name in ("a.json", "a.toml", "a"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match="it is a named pipe, not a regular file; give a"):
            load_config(str(tmp_path / name))


def test_every_whole_number_has_a_largest_value():
    for name, section in SECTIONS.items():
        for entry in fields(section):
            if entry.type.startswith("int"):
                assert {"maximum", "below"} & set(entry.metadata), f"{name}.{entry.name}"


def test_every_key_is_documented():
    for section in SECTIONS.values():
        for entry in fields(section):
            assert entry.metadata["doc"].strip(), f"{section.__name__}.{entry.name}"


def test_effective_has_every_key_and_plain_types():
    table = effective(config_from_dict({}))
    assert json.loads(json.dumps(table)) == table
    assert set(table) == set(SECTIONS)
    assert table["optimizer"]["adam_weight_decay"] == 0.01


def test_the_reference_of_the_keys_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text(encoding="utf-8") == document()
