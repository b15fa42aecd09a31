"""Line mode: texts cut into sentences, sentences packed into rows of one length (ARS.md, section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from arsbench.data.tokenizer import Tokenizer

PACKING_VERSION = 1
"""Part of the cache's key: increase it whenever the same texts would give different rows or statistics."""

# Sentences tokenized at a time: enough to keep every core busy without a second copy of the text.
_BATCH = 16384


@dataclass(frozen=True)
class Statistics:
    """Counts over a split's texts and rows.

    Attributes:
        texts: texts read.
        sentences: non-blank pieces between full stops.
        dropped_sentences: those of fewer than 2 or more than sequence_length + 1 tokens, in no row.
        rows: packed rows.
        tokens: tokens in the rows, <|endoftext|> included, padding excluded.
        padding_share: padding as a share of all positions in the rows.
        targets: tokens without the first of each row, which is never predicted.
        target_bytes: bytes of UTF-8 that the targets stand for (<|endoftext|> stands for none).
        target_words: white-space words of the sentences, without those of each row's first token.
    """

    texts: int
    sentences: int
    dropped_sentences: int
    rows: int
    tokens: int
    padding_share: float
    targets: int
    target_bytes: int
    target_words: int


def pack_texts(
    texts: Sequence[str], tokenizer: Tokenizer, sequence_length: int
) -> tuple[np.ndarray, Statistics]:
    """Cut texts into sentences, tokenize them and pack them into rows.

    A text's newlines become spaces; the text is split on "." and each piece is stripped of white space; a
    non-empty piece becomes the tokens of piece + "." and <|endoftext|>. Pieces of 2 to sequence_length + 1
    tokens are kept, longest first and otherwise in order. A row takes pieces until the next does not fit, and
    is then filled with <pad>.

    Returns:
        rows: int32 (rows, sequence_length + 1). Inputs are row[:-1], targets row[1:].
        statistics: counts over these texts.
    """
    width = sequence_length + 1
    kept_ids: list[np.ndarray] = []  # each: the ids of one batch's kept sentences, end to end
    kept: list[str] = []
    lengths: list[int] = []
    number = 0
    sentences = _sentences(texts)
    while batch := list(islice(sentences, _BATCH)):
        number += len(batch)
        flat: list[int] = []
        for sentence, ids in zip(batch, tokenizer.encode_batch(batch), strict=True):
            length = len(ids) + 1
            if 2 <= length <= width:
                flat += ids
                flat.append(tokenizer.eos_id)
                lengths.append(length)
                kept.append(sentence)
        kept_ids.append(np.array(flat, dtype=np.int32))

    tokens = np.concatenate(kept_ids) if kept_ids else np.empty(0, dtype=np.int32)
    starts = np.cumsum([0, *lengths])
    filled: list[np.ndarray] = []
    leading: list[str] = []  # the first sentence of each row
    used = width
    for index in np.argsort(-np.array(lengths, dtype=np.int64), kind="stable"):
        if used + lengths[index] > width:
            filled.append(np.full(width, tokenizer.pad_id, dtype=np.int32))
            leading.append(kept[index])
            used = 0
        filled[-1][used : used + lengths[index]] = tokens[starts[index] : starts[index + 1]]
        used += lengths[index]
    rows = np.stack(filled) if filled else np.empty((0, width), dtype=np.int32)
    targets = rows[:, 1:]
    statistics = Statistics(
        texts=len(texts),
        sentences=number,
        dropped_sentences=number - len(kept),
        rows=len(rows),
        tokens=len(tokens),
        padding_share=1 - len(tokens) / rows.size if rows.size else 0.0,
        targets=int((targets != tokenizer.pad_id).sum()),
        target_bytes=int(tokenizer.token_byte_lengths[targets].sum()),
        target_words=sum(len(sentence.split()) for sentence in kept)
        - _words_of_first_tokens(leading, tokenizer.token_byte_lengths[rows[:, 0]]),
    )
    return rows, statistics


def _sentences(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        for piece in text.replace("\n", " ").split("."):
            piece = piece.strip()
            if piece:
                yield piece + "."


def _words_of_first_tokens(sentences: Sequence[str], byte_lengths: np.ndarray) -> int:
    """The words that the sentences lose with their first token, which may end inside a character."""
    lost = 0
    for sentence, length in zip(sentences, byte_lengths, strict=True):
        rest = sentence.encode()[length:].decode(errors="replace")
        lost += len(sentence.split()) - len(rest.split())
    return lost
