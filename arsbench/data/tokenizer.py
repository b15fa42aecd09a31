"""Byte-level BPE: trained on the training text, kept in a file, and bound to that text (ARS.md, section 3).

Source of the method: Sennrich et al. 2016 (BPE) on bytes as in Radford et al. 2019 (GPT-2). The alphabet is
all 256 bytes, so that encoding and decoding returns any text unchanged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from arsbench.data.sources import hash_texts
from arsbench.documents import parse_json
from arsbench.errors import UserError
from arsbench.files import atomic_write, read_regular, sha256_of

END_OF_TEXT = "<|endoftext|>"
PADDING = "<pad>"
SMALLEST_VOCABULARY = 256 + 2
"""Every byte, and the two special tokens."""

LARGEST_VOCABULARY = 2**24
"""Bounds the tables in memory, which have an entry for each id."""

_logger = logging.getLogger(__name__)
_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())

# If it is set, `tokenizers` does not warn at every later fork; the loader's workers never tokenize.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


class Tokenizer:
    """A byte-level BPE tokenizer read from a file.

    "<pad>" in a text becomes the tokens of its five characters, so that the padding id always means padding.

    Attributes:
        path: the file it came from.
        sha256: hexadecimal hash of that file.
        vocabulary_size: number of ids, as the model needs it.
        eos_id, pad_id: ids of <|endoftext|> and <pad>.
        token_byte_lengths: int64 (vocabulary_size,), how many bytes of text each token stands for; 0 for
            special tokens.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read a tokenizer file.

        Raises:
            UserError: the file is missing, damaged, or not byte-level BPE with all 256 bytes and both special
                tokens.
        """
        self.path = Path(path)
        try:
            self.sha256 = sha256_of(self.path)
        except OSError as error:
            raise UserError(
                f"cannot read the tokenizer file {self.path}: {error.strerror}; check the path"
            ) from error
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(self.path))
        except Exception as error:  # the library raises plain Exception
            raise UserError(
                f"the tokenizer file {self.path} is damaged ({error}); remove it to have it trained again"
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # despite its name: encode them as ordinary text
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self._check(vocabulary)
        self.eos_id = vocabulary[END_OF_TEXT]
        self.pad_id = vocabulary[PADDING]
        self.vocabulary_size = max(vocabulary.values()) + 1
        self.token_byte_lengths = np.zeros(self.vocabulary_size, dtype=np.int64)
        for token, index in vocabulary.items():
            self.token_byte_lengths[index] = len(token)  # byte-level: one character stands for one byte
        for index, added in self._tokenizer.get_added_tokens_decoder().items():
            self.token_byte_lengths[index] = 0 if added.special else len(added.content.encode())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without any special token."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Text of the ids, special tokens left out or shown; bytes that form no character become U+FFFD."""
        return self._tokenizer.decode([int(index) for index in ids], skip_special_tokens=not keep_special)

    def save_copy(self, path: Path) -> None:
        """Copy the tokenizer's file, and the record of its text if there is one.

        Raises:
            UserError: it cannot be written.
        """
        for source, copy in ((self.path, path), (_beside(self.path), _beside(path))):
            if source.exists():
                with atomic_write(copy, "wb") as file:
                    file.write(source.read_bytes())

    def _check(self, vocabulary: dict[str, int]) -> None:
        for token in (END_OF_TEXT, PADDING):
            if token not in vocabulary:
                raise self.incompatible(f"it has no {token}")
        highest = max(vocabulary.values())
        if highest >= LARGEST_VOCABULARY:
            raise self.incompatible(f"its largest id is {highest}; ids must be < {LARGEST_VOCABULARY}")
        missing = sum(letter not in vocabulary for letter in _ALPHABET)
        if missing:
            raise self.incompatible(f"{missing} of the 256 bytes have no token")
        probe = "A  b\n\té \ufb01 \U0001f600"
        if self._tokenizer.decode(self._tokenizer.encode(probe, add_special_tokens=False).ids) != probe:
            raise self.incompatible("decoding does not return the encoded text")

    def incompatible(self, reason: str) -> UserError:
        """The error that says why this tokenizer cannot be used."""
        return UserError(
            f"the tokenizer file {self.path} has a different vocabulary ({reason}); "
            "remove it or set another data.tokenizer_path"
        )


def load_or_train(path: str | os.PathLike[str], texts: Sequence[str], vocabulary_size: int) -> Tokenizer:
    """The tokenizer at `path`, trained on `texts` and saved there if there is none.

    `<path>.text.json` beside the file holds the hashes of the training text and of the tokenizer; a later
    call compares them. A tokenizer without that file is used with a warning, since its training text is
    unknown. To use a tokenizer with another text, remove that file.

    Args:
        path: `data.tokenizer_path`.
        texts: the training split.
        vocabulary_size: maximum number of entries; a small text gives fewer.

    Raises:
        UserError: the tokenizer is damaged, was trained on another text or has a different vocabulary, or the
            path cannot be written to.
    """
    path = Path(path).expanduser()
    if vocabulary_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"model.vocabulary_size is {vocabulary_size}; byte-level BPE needs at least {SMALLEST_VOCABULARY}"
        )
    text_sha256 = hash_texts(texts)
    if not path.exists():
        _train(path, texts, vocabulary_size, text_sha256)
        return Tokenizer(path)
    tokenizer = Tokenizer(path)
    size = tokenizer.vocabulary_size
    other_size = f"it has {size} entries, model.vocabulary_size is {vocabulary_size}"
    if size > vocabulary_size:
        raise tokenizer.incompatible(other_size)
    record = _read_record(path)
    if record is None:
        _logger.warning("%s has no %s beside it, so its training text is unknown", path, _beside(path))
        return tokenizer
    if record["tokenizer_sha256"] != tokenizer.sha256:
        raise UserError(
            f"the tokenizer file {path} is damaged or was replaced; remove it and {_beside(path)}"
        )
    if record["text_sha256"] != text_sha256:
        raise UserError(
            f"the tokenizer file {path} was trained on another text; remove it to have it trained again, "
            f"set another data.tokenizer_path, or remove {_beside(path)} to use it with this text"
        )
    # A vocabulary that filled its limit would have grown under a larger limit.
    if size == record["vocabulary_size"] < vocabulary_size:
        raise tokenizer.incompatible(other_size)
    return tokenizer


def _train(path: Path, texts: Sequence[str], vocabulary_size: int, text_sha256: str) -> None:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=0,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=_ALPHABET,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    content = tokenizer.to_str(pretty=True)
    record = {
        "text_sha256": text_sha256,
        "tokenizer_sha256": hashlib.sha256(content.encode()).hexdigest(),
        "vocabulary_size": vocabulary_size,
        "tokenizers": tokenizers.__version__,
    }
    # The record first: after a crash between the two there is no tokenizer, and both are written again.
    with atomic_write(_beside(path)) as file:
        json.dump(record, file, indent=2)
    with atomic_write(path) as file:
        file.write(content)


def _read_record(path: Path) -> dict | None:
    beside = _beside(path)
    if not beside.exists():
        return None
    try:
        record = parse_json(read_regular(beside))
        if {"text_sha256", "tokenizer_sha256", "vocabulary_size"} <= record.keys():
            return record
    except (OSError, ValueError, AttributeError):
        pass
    raise UserError(f"{beside} is damaged; remove it and {path} to have the tokenizer trained again")


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".text.json")
