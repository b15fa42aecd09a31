import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arsbench.config.schema import DataConfig
from arsbench.data import load_corpus
from arsbench.errors import UserError

# Read at import: the fixture `isolated` hides the variable from the tests themselves.
WIKITEXT2 = os.environ.get("ARSBENCH_WIKITEXT2")


def test_load_and_describe(data):
    corpus = load_corpus(data, vocabulary_size=300, sequence_length=31)
    assert corpus.train.rows.shape[1] == 32
    described = json.loads(json.dumps(corpus.describe(examples=2)))
    assert list(described["splits"]) == ["train", "validation", "test"]
    train = described["splits"]["train"]
    assert (train["texts"], train["sentences"], train["dropped_sentences"]) == (4, 7, 1)
    assert train["rows"] == len(corpus.train.rows)
    assert train["tokens"] == (corpus.train.rows != corpus.tokenizer.pad_id).sum()
    assert len(train["examples"]) == 2
    assert train["examples"][0].endswith(".<|endoftext|>")
    assert "<pad>" not in "".join(train["examples"])
    assert described["tokenizer"]["vocabulary_size"] == corpus.tokenizer.vocabulary_size
    assert described["origin"] == corpus.origin


def test_without_a_third_split(data):
    data = replace(data, train_file="wiki.train.tokens", validation_file="wiki.test.tokens")
    corpus = load_corpus(data, vocabulary_size=300, sequence_length=31)
    assert corpus.test is None
    assert list(corpus.describe()["splits"]) == ["train", "validation"]


def test_second_call_tokenizes_nothing(data, monkeypatch):
    first = load_corpus(data, vocabulary_size=300, sequence_length=31)
    monkeypatch.setattr("arsbench.data.corpus.pack_texts", None)
    second = load_corpus(data, vocabulary_size=300, sequence_length=31)
    for split in "train", "validation", "test":
        assert np.array_equal(getattr(first, split).rows, getattr(second, split).rows)
        assert getattr(first, split).statistics == getattr(second, split).statistics


def test_changed_text_is_packed_anew(data, folder):
    before = load_corpus(data, vocabulary_size=300, sequence_length=31)
    (folder / "wiki.valid.tokens").write_text("Something else . And more of it .")
    after = load_corpus(data, vocabulary_size=300, sequence_length=31)
    assert np.array_equal(before.train.rows, after.train.rows)
    assert after.validation.statistics.sentences == 2


def test_other_training_text_is_refused_unless_asked_for(data, folder):
    load_corpus(data, vocabulary_size=300, sequence_length=31)
    (folder / "wiki.train.tokens").write_text("Something else . And more of it .")
    with pytest.raises(UserError, match="another text"):
        load_corpus(data, vocabulary_size=300, sequence_length=31)
    Path(data.tokenizer_path + ".text.json").unlink()
    load_corpus(data, vocabulary_size=300, sequence_length=31)


def test_text_without_a_sentence_that_fits(data, folder):
    (folder / "wiki.valid.tokens").write_text("w " * 100)
    with pytest.raises(UserError, match=r"sequence_length is .*the validation text fits"):
        load_corpus(data, vocabulary_size=300, sequence_length=31)


def test_preparing_needs_no_torch():
    code = "import sys, arsbench.data; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )


def test_pydocs_from_end_to_end(tmp_path):
    data = DataConfig(source="pydocs", tokenizer_path=str(tmp_path / "t.json"))
    corpus = load_corpus(data, vocabulary_size=4096, sequence_length=127)
    assert corpus.tokenizer.vocabulary_size == 4096
    assert len(corpus.train.rows) > 1000
    assert min(len(corpus.validation.rows), len(corpus.test.rows)) > 50
    assert corpus.train.statistics.padding_share < 0.2


@pytest.mark.skipif(not WIKITEXT2, reason="ARSBENCH_WIKITEXT2 is not set")
def test_wikitext2_mini(tmp_path):
    data = DataConfig(
        source="files",
        path=WIKITEXT2,
        train_file="wiki.valid.tokens",
        validation_file="wiki.test.tokens",
        tokenizer_path=str(tmp_path / "t.json"),
    )
    corpus = load_corpus(data, vocabulary_size=40479, sequence_length=255)
    assert corpus.tokenizer.vocabulary_size == 20379
    assert (len(corpus.train.rows), len(corpus.validation.rows)) == (1091, 1326)
    assert corpus.test is None
    assert corpus.validation.statistics.dropped_sentences == 0
    # Every byte of the text is in a piece, but for white space at its ends, and newlines.
    assert corpus.validation.statistics.target_bytes > 0.97 * 1_256_449
