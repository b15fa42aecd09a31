"""How much memory a training needs: never less than it takes, and said before anything is allocated."""

import json

import pytest
import torch

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.errors import UserError
from arsbench.models import OneLayerTransformer, build_model
from arsbench.optim import create_optimizer
from arsbench.suite import prepare as suite_prepare
from arsbench.training import memory, start

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"num_kv_heads": 1, "tie_word_embeddings": False, "num_layers": 3},
        {"type": "one_layer", "num_layers": 1, "tie_word_embeddings": False, "sequence_length": 3},
    ],
)
def test_parameters_are_those_of_the_model(tiny, model):
    config = config_from_dict(tiny | {"model": tiny["model"] | model}).model
    build = OneLayerTransformer if config.type == "one_layer" else build_model
    assert memory.parameter_count(config, 300) == sum(p.numel() for p in build(config, 300).parameters())


@pytest.mark.parametrize(
    ("optimizer", "copies"),
    [
        ({"name": "ARS", "k": 5}, 5),
        ({"name": "ARS", "k": 0}, 4),
        ({"name": "AdamW"}, 4),
        ({"name": "Muon"}, 3),
        ({"name": "torch.optim:SGD", "lr": 0.1}, 2),
    ],
)
def test_what_an_optimizer_keeps_is_not_overestimated(tiny, optimizer, copies):
    config = config_from_dict(tiny | {"optimizer": optimizer})
    parameters = memory.parameter_count(config.model, 300)
    (size,) = (size for name, size in memory.training_bytes(config, 300).items() if "parameters" in name)
    assert size == 4 * copies * parameters
    model = build_model(config.model, 300)
    made = create_optimizer(model, config.optimizer, config.given["optimizer"])

    def closure() -> torch.Tensor:
        made.zero_grad()
        loss = sum((p**2).sum() for p in model.parameters())
        loss.backward()
        return loss

    made.step(closure)
    states = (value for state in made.state.values() for value in state.values())
    kept = sum(value.numel() for value in states if isinstance(value, torch.Tensor) and value.numel() > 1)
    assert (copies - 2) * parameters <= kept


def test_a_run_that_cannot_fit_is_refused_before_its_data_are_made(tiny, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 3 * 2**30)
    monkeypatch.setattr(start, "create_task", None)
    tiny["model"]["embedding_size"] = 10**9
    with pytest.raises(UserError) as error:
        training.create_trainer(config_from_dict(tiny), observer=None)
    message = str(error.value)
    assert message.startswith("training needs at least ")
    assert "weights, gradients and optimizer state of 1,575,000,000,256 parameters" in message
    assert message.endswith("and this machine has 3.0 GiB available; choose smaller sizes")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"data": {"batch_size": 10**9}}, "data.batch_size"),
        ({"model": {"sequence_length": 10**6, "embedding_size": 10**4}}, "model.sequence_length"),
        ({"model": {"num_layers": 10_000, "intermediate_size": 10_000}}, "section model"),
        ({"model": {"num_heads": 10**8}}, "section model"),
    ],
)
def test_most_of_it_is_for(tiny, monkeypatch, keys, words):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    memory.check_memory(config_from_dict(tiny), CPU)
    config = config_from_dict(tiny | {section: tiny[section] | table for section, table in keys.items()})
    with pytest.raises(UserError, match=f"most of it for .*{words}"):
        memory.check_memory(config, CPU)


def test_a_vocabulary_counts_once_it_is_known(tiny, monkeypatch):
    tiny["model"] |= {"vocabulary_size": 10**7, "embedding_size": 200}
    config = config_from_dict(tiny)
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    memory.check_memory(config, CPU)  # the tokenizer may turn out small
    memory.check_memory(config, CPU, 1000)
    with pytest.raises(UserError, match=r"at least 37\.\d GiB"):
        memory.check_memory(config, CPU, 10**7)


def test_the_pairs_of_a_modulus(modular, monkeypatch):
    config = config_from_dict(modular | {"data": {"modulus": 10_000}})
    monkeypatch.setattr(memory, "available_bytes", lambda: 6 * 10**9)
    with pytest.raises(UserError, match=r"6\.7 GiB of memory, most of it for the p² pairs of data\.modulus"):
        memory.check_memory(config, CPU)
    memory.check_memory(config, CPU, 10_001)  # they are there
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**9 // 2)
    with pytest.raises(UserError, match=r"attention scores \(data\.modulus, model\.num_heads\)"):
        memory.check_memory(config, CPU, 10_001)


def test_the_memory_of_a_gpu(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**18, 2**40))
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**50)
    with pytest.raises(UserError, match=r"and the GPU has 0\.2 MiB available"):
        memory.check_memory(config_from_dict(tiny), torch.device("cuda"))


def test_a_suite_is_refused_before_its_models_are_made(tiny, monkeypatch):
    # Enough for the smallest vocabulary and not for the text's.
    monkeypatch.setattr(memory, "available_bytes", lambda: 11 * 2**20 // 10)
    monkeypatch.setattr(suite_prepare, "create_optimizer", None)
    tiny["model"] |= {"num_layers": 1, "embedding_size": 120, "num_heads": 1, "intermediate_size": 1}
    one, other = (json.loads(json.dumps(tiny | {"optimizer": {"name": n}})) for n in ("AdamW", "Muon"))
    with pytest.raises(UserError, match=r"contender 'A': training needs at least 1\.\d MiB"):
        suite_prepare.prepare({"runs": {"A": one, "B": other}})


def test_the_limits_of_control_groups(tmp_path):
    root, own = tmp_path / "cgroup", tmp_path / "own"
    (root / "memory" / "old").mkdir(parents=True)
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "memory.max").write_text("2000\n")
    (root / "a" / "b" / "memory.max").write_text("max\n")
    (root / "memory" / "old" / "memory.limit_in_bytes").write_text("3000\n")
    own.write_text("4:memory:/old\n3:cpu:/a\n0::/a/b\n")
    assert sorted(memory.group_limits(root, own)) == [2000, 3000]
    own.write_text("0::/\n")
    (root / "memory.max").write_text("1000\n")
    assert memory.group_limits(root, own) == [1000]
    assert memory.group_limits(tmp_path / "none", tmp_path / "none") == []


def test_this_machine_has_memory():
    available = memory.available_bytes()
    assert available is None or 2**20 < available < 2**50
