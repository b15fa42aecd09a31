"""Language modelling on sentences packed into rows ("wikitext2_line", ARS.md §3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from arsbench import models
from arsbench.config import Config
from arsbench.data import Corpus, PackedSplit, prepare
from arsbench.data.loader import BatchLoader
from arsbench.data.tokenizer import Tokenizer
from arsbench.errors import UserError

# torch's own "no target here", which never collides with a token.
IGNORED = -100


@dataclass(frozen=True)
class Split:
    """One evaluation text: its rows in order, and what the strict protocol divides by."""

    loader: BatchLoader
    bytes: int
    words: int


class WikiText2Line:
    """Data, model and loss of the task.

    Args:
        config: the run's configuration.
        corpus: its texts, tokenized and packed.

    Raises:
        UserError: a text does not fill one batch.
    """

    def __init__(self, config: Config, corpus: Corpus) -> None:
        self.config = config
        self.corpus = corpus
        self.tokenizer: Tokenizer = corpus.tokenizer
        data = config.data
        self._training = BatchLoader(
            corpus.train.rows,
            data.batch_size,
            seed=config.experiment.seed,
            shuffle=True,
            drop_last=True,
            num_workers=data.num_workers,
        )
        # Made now, so that a text that is too short is said before training and not after it.
        self._evaluation = {
            name: self._evaluation_split(split) for name, split in corpus.splits().items() if name != "train"
        }
        if self.steps_per_epoch == 0:
            raise UserError(
                f"train.accumulate is {config.train.accumulate}, and the training text fills only "
                f"{self._training.steps_per_epoch} batches; lower it or take a longer text"
            )

    @classmethod
    def prepare(cls, config: Config) -> WikiText2Line:
        """The task with its texts read, tokenized and packed (or taken from the cache)."""
        corpus = prepare(
            config.data,
            vocabulary_size=config.model.vocabulary_size,
            sequence_length=config.model.sequence_length,
        )
        return cls(config, corpus)

    @property
    def name(self) -> str:
        """As shown beside every figure, label included."""
        return self.config.task

    @property
    def vocabulary_size(self) -> int:
        """Entries of the tokenizer, which is the model's vocabulary."""
        return self.tokenizer.vocabulary_size

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch; batches that do not fill the last step are dropped."""
        return self._training.steps_per_epoch // self.config.train.accumulate

    def fingerprint(self) -> dict[str, str]:
        """What a resumed run must find unchanged: hashes of the rows and of the tokenizer."""
        splits = self.corpus.splits().items()
        rows = {name: hashlib.sha256(np.ascontiguousarray(split.rows)).hexdigest() for name, split in splits}
        return {**rows, "tokenizer": self.tokenizer.sha256}

    def changed_since(self, fingerprint: Mapping[str, str]) -> list[str]:
        """The names of the splits, and "tokenizer", that are not what they were at `fingerprint`."""
        return [name for name, value in self.fingerprint().items() if fingerprint.get(name) != value]

    def build_model(self) -> torch.nn.Module:
        """The model, freshly initialised from torch's global generator."""
        return models.build_model(self.config.model, self.vocabulary_size)

    def training_steps(self, epoch: int, start: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """The batches of each optimizer step of an epoch, from step `start` (0-based) of it on.

        Yields:
            `train.accumulate` pairs of inputs and targets, each (B, T) int64.
        """
        accumulate = self.config.train.accumulate
        batches = self._training.epoch(epoch, start * accumulate)
        for _ in range(start, self.steps_per_epoch):
            yield [next(batches) for _ in range(accumulate)]

    def loss(self, model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> models.LossOutput:
        """The training loss of a batch: mean over targets, padding as `train.ignore_padding` says."""
        if self.config.train.ignore_padding:
            targets = targets.masked_fill(targets == self.tokenizer.pad_id, IGNORED)
        return model.loss(inputs, targets, ignore_index=IGNORED)

    def evaluation_splits(self) -> dict[str, Split]:
        """ "validation", and "test" where one is configured."""
        return self._evaluation

    def _evaluation_split(self, split: PackedSplit) -> Split:
        data = self.config.data
        loader = BatchLoader(split.rows, data.batch_size, num_workers=data.num_workers)
        return Split(loader, split.statistics.target_bytes, split.statistics.target_words)
