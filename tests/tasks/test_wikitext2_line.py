"""The task: names, batches, the training loss."""

import pytest
import torch
from torch.nn import functional as F

from arsbench.config import config_from_dict
from arsbench.errors import UserError
from arsbench.tasks import create_task


def test_the_label_is_shown_and_does_not_choose(tiny):
    assert create_task(config_from_dict(tiny)).config.task == "wikitext2_line (tiny)"
    tiny["experiment"]["tasks"] = ["mod_subtraction (tiny)"]
    with pytest.raises(UserError, match="must be one of wikitext2_line"):
        create_task(config_from_dict(tiny))


def test_the_model_takes_the_tokenizers_real_size(tiny):
    task = create_task(config_from_dict(tiny))
    assert task.build_model().model.embed_tokens.num_embeddings == task.tokenizer.vocabulary_size <= 400


@pytest.mark.parametrize("accumulate", [1, 3])
def test_steps_take_all_whole_batches_and_restart_anywhere(tiny, accumulate):
    tiny["train"]["accumulate"] = accumulate
    task = create_task(config_from_dict(tiny))
    steps = list(task.training_steps(1))
    assert len(steps) == task.steps_per_epoch == len(task.corpus.train.rows) // 4 // accumulate
    assert all(len(batches) == accumulate for batches in steps)
    again = list(task.training_steps(1, start=5))
    assert len(again) == len(steps) - 5
    for mine, theirs in zip(again, steps[5:], strict=True):
        for (x, y), (u, v) in zip(mine, theirs, strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)
    assert not torch.equal(next(task.training_steps(0))[0][0], steps[0][0][0])


def test_more_accumulation_than_batches_is_refused(tiny):
    tiny["train"]["accumulate"] = 10_000
    with pytest.raises(UserError, match=r"train\.accumulate is 10000"):
        create_task(config_from_dict(tiny))


@pytest.mark.parametrize("ignore", [False, True])
def test_padding_counts_in_training_unless_it_is_to_be_ignored(tiny, ignore):
    tiny["train"]["ignore_padding"] = ignore
    task = create_task(config_from_dict(tiny))
    torch.manual_seed(0)
    model = task.build_model()
    rows = torch.from_numpy(task.corpus.train.rows[-4:].astype("int64"))
    inputs, targets = rows[:, :-1], rows[:, 1:]
    assert (targets == task.tokenizer.pad_id).any()
    loss = task.loss(model, inputs, targets).loss
    ignored = task.tokenizer.pad_id if ignore else -100
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=ignored)
    torch.testing.assert_close(loss, expected)


def test_the_fingerprint_tells_texts_and_tokenizers_apart(tiny, tmp_path):
    one = create_task(config_from_dict(tiny)).fingerprint()
    tiny["data"] |= {"tokenizer_path": str(tmp_path / "other.json")}
    tiny["model"]["vocabulary_size"] = 350
    two = create_task(config_from_dict(tiny)).fingerprint()
    assert one.keys() == two.keys() == {"train", "validation", "test", "tokenizer"}
    assert all(one[name] != two[name] for name in one)
