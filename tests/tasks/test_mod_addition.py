"""Modular addition: its pairs, who is trained on which, batches, evaluation."""

from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

from arsbench.config import config_from_dict, load_config
from arsbench.errors import UserError
from arsbench.metrics import METRICS
from arsbench.optim import split_parameters
from arsbench.runs.folder import RunFolder
from arsbench.tasks import Task, changed_names, create_task
from arsbench.training.evaluate import evaluate

CPU = torch.device("cpu")


def pairs_of(batches):
    """{(x, y): target} of batches, checked for repetitions and for the "=" in the last place."""
    batches = list(batches)
    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert inputs.dtype == targets.dtype == torch.int64
    rows = zip(inputs.tolist(), targets.tolist(), strict=True)
    pairs = {(x, y): (sign, target) for (x, y, sign), target in rows}
    assert len(pairs) == len(inputs)
    return pairs


def trained_on(task, epoch=0):
    return pairs_of(batch for step in task.training_steps(epoch) for batch in step)


def held_out(task):
    return pairs_of(task.evaluation_splits()["validation"].batches())


def test_the_presets_task_is_the_published_one():
    task = create_task(load_config("mod_addition"))
    assert (len(trained_on(task)), len(held_out(task))) == (3830, 8939)  # int(0.3 · 113²) and the rest
    assert task.steps_per_epoch == 8
    assert [len(step[0][1]) for step in task.training_steps(0)] == [512] * 7 + [246]
    model = task.build_model()
    assert model.embed_tokens.weight.shape == model.lm_head.weight.shape == (114, 128)
    assert sum(p.numel() for p in model.parameters()) == 226_816


def test_every_pair_is_in_one_split_with_its_sum(modular):
    task = create_task(config_from_dict(modular))
    train, validation = trained_on(task), held_out(task)
    assert not train.keys() & validation.keys()
    assert train.keys() | validation.keys() == {(x, y) for x in range(23) for y in range(23)}
    assert len(train) == int(Fraction("0.6") * 529)
    for (x, y), (sign, target) in (train | validation).items():
        assert (sign, target) == (23, (x + y) % 23)


def test_the_seed_decides_the_split_and_the_order(modular):
    def task(seed):
        modular["experiment"]["seed"] = seed
        return create_task(config_from_dict(modular))

    one, same, other = task(7), task(7), task(8)
    assert list(held_out(one)) == list(held_out(same)) != list(held_out(other))
    assert list(trained_on(one)) == list(trained_on(same))
    assert one.fingerprint() == same.fingerprint()
    assert set(changed_names(other.fingerprint(), one.fingerprint())) == {"train", "validation"}
    assert changed_names(same.fingerprint(), one.fingerprint()) == []
    # As many of the pairs are shared as by chance: seeds do not overlap more than others.
    shared = len(trained_on(one).keys() & trained_on(other).keys())
    assert abs(shared - 0.6 * 317) < 5 * (529 * 0.6**2 * 0.4**2) ** 0.5
    first, second = (list(trained_on(one, epoch)) for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_an_epoch_restarts_anywhere(modular, accumulate):
    modular["train"]["accumulate"] = accumulate
    task = create_task(config_from_dict(modular))
    steps = list(task.training_steps(3))
    assert len(steps) == task.steps_per_epoch == 6 // accumulate
    assert all(len(batches) == accumulate for batches in steps)
    for start in range(len(steps) + 1):
        again = list(task.training_steps(3, start))
        assert len(again) == len(steps) - start
        for mine, theirs in zip(again, steps[start:], strict=True):
            for (x, y), (u, v) in zip(mine, theirs, strict=True):
                assert torch.equal(x, u)
                assert torch.equal(y, v)


def test_a_batch_may_be_all_there_is(modular):
    modular["data"]["batch_size"] = 10_000
    task = create_task(config_from_dict(modular))
    assert task.steps_per_epoch == 1
    assert len(trained_on(task)) == 317


def test_evaluation_counts_every_pair(modular, monkeypatch):
    """In batches that do not come out even, against one computation over all pairs."""
    monkeypatch.setattr("arsbench.tasks.mod_addition.EVALUATION_ROWS", 100)
    task = create_task(config_from_dict(modular))
    torch.manual_seed(0)
    model = task.build_model()
    split = task.evaluation_splits()["validation"]
    assert [len(targets) for _, targets in split.batches()] == [100, 100, 12]
    with torch.no_grad():
        logits = model(split.inputs).double()
    figures = evaluate(model, task, task.config, "validation", CPU)
    assert model.training
    assert figures["all"]["loss"] == pytest.approx(F.cross_entropy(logits, split.targets).item(), rel=1e-6)
    right = (logits.argmax(-1) == split.targets).sum().item()
    assert 0 < right < 212
    assert figures["all"]["accuracy"] == right / 212
    assert figures["all"]["targets"] == 212
    record = {"evaluation": {"validation": figures}}
    assert all(metric.value(record) is not None for metric in METRICS["mod_addition"][:2])


def test_only_the_layers_own_matrices_are_orthogonalised(modular):
    matrices, rest = split_parameters(create_task(config_from_dict(modular)).build_model())
    assert [name.removesuffix(".weight") for name in matrices["param_names"]] == [
        *("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
    ]
    assert set(rest["param_names"]) == {
        *("embed_tokens.weight", "embed_positions.weight", "lm_head.weight", "up_proj.bias", "down_proj.bias")
    }


def test_it_keeps_nothing_in_the_runs_folder(modular, tmp_path):
    run = RunFolder.create(tmp_path / "run", config={}, effective={}, environment={}, groups=[])
    before = sorted(run.path.iterdir())
    create_task(config_from_dict(modular)).store(run)
    assert sorted(run.path.iterdir()) == before


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("model", "type", "rope", "model.type is 'rope'; mod_addition (tiny) needs one_layer"),
        ("model", "sequence_length", 4, "model.sequence_length is 4; mod_addition (tiny) needs 3"),
        ("data", "train_fraction", 0.001, "leaves none of the 529 pairs to train on"),
        ("train", "accumulate", 7, "train.accumulate is 7; it must be ≤ 6, the number of batches"),
    ],
)
def test_what_does_not_fit_is_named_with_its_remedy(modular, section, key, value, words):
    modular[section][key] = value
    with pytest.raises(UserError) as error:
        create_task(config_from_dict(modular))
    assert words in str(error.value)


def test_both_tasks_have_the_whole_interface(modular, tiny):
    wanted = {name for name in vars(Task) if not name.startswith("_")}
    assert len(wanted) == 10
    for given in (modular, tiny):
        task = create_task(config_from_dict(given))
        assert all(hasattr(task, name) for name in wanted)


def test_text_takes_no_other_model(tiny):
    tiny["model"] = {"type": "one_layer", "num_layers": 1, "tie_word_embeddings": False}
    with pytest.raises(UserError, match=r"model\.type is 'one_layer'; wikitext2_line .tiny. needs rope"):
        create_task(config_from_dict(tiny))
