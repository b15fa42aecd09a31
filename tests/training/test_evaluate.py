"""Both protocols against a naive computation from the rows' own text."""

import math

import pytest
import torch
from torch.nn import functional as F

from arsbench.config import config_from_dict
from arsbench.tasks import create_task
from arsbench.training.evaluate import evaluate

CPU = torch.device("cpu")


@pytest.fixture
def task(tiny):
    tiny["data"]["batch_size"] = 5
    return create_task(config_from_dict(tiny))


@pytest.fixture
def model(task):
    torch.manual_seed(0)
    return task.build_model()


@torch.no_grad()
def test_both_protocols_against_their_definition(task, model):
    split = task.corpus.validation
    rows = torch.from_numpy(split.rows.astype("int64"))
    losses = F.cross_entropy(
        model(rows[:, :-1]).double().flatten(0, 1), rows[:, 1:].flatten(), reduction="none"
    ).view(len(rows), -1)
    full = len(rows) // task.config.data.batch_size * task.config.data.batch_size
    assert full < len(rows), "the last batch must be incomplete, or the protocols' difference is not seen"
    seed_loss = losses[:full].mean().item()
    real = rows[:, 1:] != task.tokenizer.pad_id
    strict_sum = losses[real].sum().item()
    text = [task.tokenizer.decode(row[1:][row[1:] != task.tokenizer.pad_id]) for row in rows]
    size = sum(len(piece.encode()) for piece in text)

    result = evaluate(model, task, task.config, "validation", CPU)
    seed, strict = result["seed"], result["strict"]
    assert seed["loss"] == pytest.approx(seed_loss, rel=1e-6)
    assert seed["perplexity"] == pytest.approx(math.exp(seed_loss), rel=1e-5)
    assert strict["targets"] == real.sum()
    assert strict["loss"] == pytest.approx(strict_sum / real.sum().item(), rel=1e-6)
    assert strict["perplexity"] == pytest.approx(math.exp(strict["loss"]), rel=1e-9)
    assert strict["bytes"] == size
    assert strict["bits_per_byte"] == pytest.approx(strict_sum / math.log(2) / size, rel=1e-6)
    assert strict["word_perplexity"] == pytest.approx(math.exp(strict_sum / strict["words"]), rel=1e-5)
    assert abs(seed["loss"] - strict["loss"]) > 1e-3


def test_a_perplexity_too_large_for_a_float_is_infinite(task, model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(200)
    result = evaluate(model, task, task.config, "test", CPU)
    assert result["strict"]["word_perplexity"] == math.inf


def test_the_models_mode_is_left_as_it_was(task, model):
    for mode in (True, False):
        model.train(mode)
        evaluate(model, task, task.config, "test", CPU)
        assert model.training is mode
