import random

import numpy as np
import pytest

from arsbench.data.packing import pack_texts
from arsbench.data.tokenizer import load_or_train

WORDS = [
    "the",
    "cat",
    "sat",
    "é",
    "naïve",
    "日本語",
    "👩‍👩‍👧",
    "—",
    "\u00a0",
    "\u3000",
    "\n",
    "a\x0cb",
    "<pad>",
    "x" * 30,
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    texts = ["the cat sat on the mat . The cat was naïve ."] * 4
    return load_or_train(tmp_path_factory.mktemp("tokenizer") / "t.json", texts, 290)


def random_texts(generator, number=60):
    """Texts of words, runs of spaces, full stops alone and in runs, with pieces from tiny to too long."""

    def text():
        parts = generator.choices([*WORDS, ".", "..", " . ", " .", ""], k=generator.randrange(60))
        return generator.choice(["", " ", "  "]).join(parts)

    return [text() for _ in range(number)]


def transcription(texts, tokenizer, sequence_length):
    """ARS.md, section 3, word for word; also each row's sentences."""
    pieces = []
    for text in texts:
        for piece in text.replace("\n", " ").split("."):
            if piece.strip() != "":
                sentence = piece.strip() + "."
                tokens = tokenizer.encode_batch([sentence])[0] + [tokenizer.eos_id]
                pieces.append((tokens, sentence))
    kept = [piece for piece in pieces if 2 <= len(piece[0]) <= sequence_length + 1]
    kept.sort(key=lambda piece: len(piece[0]), reverse=True)  # stable, reverse too
    rows, sentences = [], []
    for tokens, sentence in kept:
        if not rows or len(rows[-1]) + len(tokens) > sequence_length + 1:
            rows.append([])
            sentences.append([])
        rows[-1] += tokens
        sentences[-1].append(sentence)
    for row in rows:
        row += [tokenizer.pad_id] * (sequence_length + 1 - len(row))
    return rows, sentences, len(pieces), len(pieces) - len(kept)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sequence_length", [7, 33, 200])
def test_rows_and_counts_equal_a_transcription(tokenizer, seed, sequence_length, monkeypatch):
    monkeypatch.setattr("arsbench.data.packing._BATCH", 17)  # several batches, the last one incomplete
    texts = random_texts(random.Random(seed))
    rows, statistics = pack_texts(texts, tokenizer, sequence_length)
    expected, sentences, number, dropped = transcription(texts, tokenizer, sequence_length)

    assert rows.dtype == np.int32
    assert rows.tolist() == expected
    assert (statistics.texts, statistics.sentences, statistics.dropped_sentences) == (
        len(texts),
        number,
        dropped,
    )
    assert dropped > 0 or sequence_length > 33
    assert statistics.rows == len(expected)
    tokens = sum(index != tokenizer.pad_id for row in expected for index in row)
    assert statistics.tokens == tokens
    assert statistics.padding_share == pytest.approx(1 - tokens / (len(expected) * (sequence_length + 1)))

    assert statistics.targets == tokens - len(expected)
    size = words = 0
    for row, inside in zip(expected, sentences, strict=True):
        first = int(tokenizer.token_byte_lengths[row[0]])
        size += sum(len(sentence.encode()) for sentence in inside) - first
        words += len(inside[0].encode()[first:].decode(errors="replace").split())
        words += sum(len(sentence.split()) for sentence in inside[1:])
    assert (statistics.target_bytes, statistics.target_words) == (size, words)


def test_by_hand(tokenizer):
    (the,), (cat,) = (ids[:-1] for ids in tokenizer.encode_batch(["the.", "cat."]))
    (stop,) = tokenizer.encode_batch(["."])[0]
    eos, pad = tokenizer.eos_id, tokenizer.pad_id
    rows, statistics = pack_texts(["the. .. the\ncat .", "cat"], tokenizer, 7)
    both = tokenizer.encode_batch(["the cat."])[0]
    assert (
        rows.tolist()
        == [[*both, eos, the, stop, eos, pad, pad][:8], [cat, stop, eos, *[pad] * 5]][: len(rows)]
    )
    assert len(rows) == 2
    # "the" and "cat" open the rows: left are " cat." + "the." and ".".
    assert (statistics.target_bytes, statistics.target_words) == (10, 3)
    assert statistics.sentences == 3


def test_first_token_may_end_within_a_character(tokenizer):
    rows, statistics = pack_texts(["日 x"], tokenizer, 15)
    assert tokenizer.token_byte_lengths[rows[0, 0]] == 1
    assert (statistics.target_bytes, statistics.target_words) == (len("日 x.".encode()) - 1, 2)


def test_a_literal_pad_in_the_text_is_a_target(tokenizer):
    rows, statistics = pack_texts(["a <pad> b"], tokenizer, 20)
    assert statistics.targets == len(tokenizer.encode_batch(["a <pad> b."])[0])
    assert (rows == tokenizer.pad_id).sum() == 21 - statistics.tokens


@pytest.mark.parametrize("texts", [[], ["", " . . "], ["x" * 500]])
def test_nothing_that_fits_gives_no_rows(tokenizer, texts):
    rows, statistics = pack_texts(texts, tokenizer, 7)
    assert rows.shape == (0, 8)
    assert (statistics.rows, statistics.tokens, statistics.targets, statistics.target_words) == (0, 0, 0, 0)
    assert statistics.padding_share == 0
