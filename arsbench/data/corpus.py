"""From a configuration's `data` section to packed rows: the one entry point of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arsbench.data.cache import cached_rows
from arsbench.data.packing import Statistics, pack_texts
from arsbench.data.sources import hash_texts, load_texts
from arsbench.data.tokenizer import Tokenizer, load_or_train
from arsbench.errors import UserError

if TYPE_CHECKING:
    from arsbench.config.schema import DataConfig


@dataclass(frozen=True)
class PackedSplit:
    """One split, ready for the loader.

    Attributes:
        rows: int32 (rows, sequence_length + 1), at least one row; read-only where it comes from the cache.
        statistics: counts over the split's texts.
    """

    rows: np.ndarray
    statistics: Statistics


@dataclass(frozen=True)
class Corpus:
    """A text, tokenized and packed.

    Attributes:
        tokenizer: its `vocabulary_size` is the one the model takes.
        train, validation: always there.
        test: None where the source has no third split.
        origin: where the text comes from, for readers.
    """

    tokenizer: Tokenizer
    train: PackedSplit
    validation: PackedSplit
    test: PackedSplit | None
    origin: str

    def splits(self) -> dict[str, PackedSplit]:
        """The splits by name; "test" only where the source has one."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def describe(self, examples: int = 3) -> dict[str, Any]:
        """Figures and the first `examples` rows (text without padding) of every split; plain JSON types."""
        return {
            "origin": self.origin,
            "tokenizer": {
                "path": str(self.tokenizer.path),
                "sha256": self.tokenizer.sha256,
                "vocabulary_size": self.tokenizer.vocabulary_size,
            },
            "splits": {
                name: asdict(split.statistics)
                | {"examples": [self._decode(row) for row in split.rows[:examples]]}
                for name, split in self.splits().items()
            },
        }

    def _decode(self, row: np.ndarray) -> str:
        return self.tokenizer.decode(row[row != self.tokenizer.pad_id], keep_special=True)


def load_corpus(data: DataConfig, *, vocabulary_size: int, sequence_length: int) -> Corpus:
    """Read the texts, train or read the tokenizer, and pack every split or take it from the cache.

    Args:
        data: source, its path and files, and the tokenizer's path.
        vocabulary_size: maximum number of entries of the tokenizer.
        sequence_length: tokens in a row that the model reads; packed rows are one token longer.

    Raises:
        UserError: a text or the tokenizer cannot be used, or no sentence fits into a row.
    """
    texts = load_texts(data)
    tokenizer = load_or_train(data.tokenizer_path, texts.train, vocabulary_size)

    def packed(name: str, split: Sequence[str]) -> PackedSplit:
        def pack() -> tuple[np.ndarray, Statistics]:
            rows, statistics = pack_texts(split, tokenizer, sequence_length)
            if not len(rows):
                raise UserError(
                    f"model.sequence_length is {sequence_length}, and no sentence of the {name} text fits; "
                    "use a larger value or another text"
                )
            return rows, statistics

        return PackedSplit(*cached_rows(hash_texts(split), tokenizer.sha256, sequence_length, pack))

    return Corpus(
        tokenizer=tokenizer,
        train=packed("training", texts.train),
        validation=packed("validation", texts.validation),
        test=None if texts.test is None else packed("test", texts.test),
        origin=texts.origin,
    )
