"""Language modelling on sentences packed into rows ("wikitext2_line", ARS.md §3)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from arsbench import models
from arsbench.config import Config
from arsbench.data import Corpus, PackedSplit, prepare
from arsbench.data.loader import BatchLoader
from arsbench.data.tokenizer import Tokenizer
from arsbench.errors import UserError
from arsbench.metrics import perplexity
from arsbench.runs.folder import RunFolder
from arsbench.tasks.task import changed_names

# torch's own "no target here", which never collides with a token.
IGNORED = -100


@dataclass(frozen=True)
class Split:
    """One evaluation text: its rows in order, and what the strict protocol divides by."""

    loader: BatchLoader
    bytes: int
    words: int

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, (B, T) int64 each, the last batch perhaps of fewer rows."""
        return self.loader.epoch(0)


class LanguageTally:
    """Both protocols of evaluation in one pass (ARS.md §4)."""

    def __init__(self, split: Split, pad_id: int, device: torch.device) -> None:
        self._split, self._pad_id = split, pad_id
        self._seed_nats, self._strict_nats = torch.zeros(2, dtype=torch.float64, device=device)
        self._strict_targets = torch.zeros((), dtype=torch.int64, device=device)
        self._seed_targets = 0

    def add(self, output: models.LossOutput, targets: Tensor) -> None:
        """Count a batch."""
        token_loss = output.token_loss.double()  # (B, T)
        if len(targets) == self._split.loader.batch_size:
            self._seed_nats += token_loss.sum()
            self._seed_targets += token_loss.numel()
        real = targets != self._pad_id
        self._strict_nats += token_loss.where(real, 0.0).sum()
        self._strict_targets += real.sum()

    def figures(self) -> dict[str, dict[str, float | int]]:
        """The metrics.

        Returns:
            "seed": mean loss per target (nats), padding counted, an incomplete last batch left out, and its
            exponential. "strict": the same per real target, every row counted, with bits per byte, perplexity
            per white-space word, and the numbers divided by.
        """
        seed_loss = float(self._seed_nats) / self._seed_targets
        nats, targets = float(self._strict_nats), int(self._strict_targets)
        return {
            "seed": {"loss": seed_loss, "perplexity": perplexity(seed_loss)},
            "strict": {
                "loss": nats / targets,
                "perplexity": perplexity(nats / targets),
                "bits_per_byte": nats / math.log(2) / self._split.bytes,
                "word_perplexity": perplexity(nats / self._split.words),
                "targets": targets,
                "bytes": self._split.bytes,
                "words": self._split.words,
            },
        }


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
        if config.model.type != "rope":
            raise UserError(
                f"model.type is {config.model.type!r}; {config.task} needs rope, as in the preset seed"
            )
        corpus = prepare(
            config.data,
            vocabulary_size=config.model.vocabulary_size,
            sequence_length=config.model.sequence_length,
        )
        return cls(config, corpus)

    @classmethod
    def restore(cls, config: Config, run: RunFolder) -> WikiText2Line:
        """The task with the run's own tokenizer, whatever has become of the file it was trained into.

        Raises:
            UserError: the run's tokenizer is gone, or a text cannot be had.
        """
        if not run.tokenizer_path.exists():
            raise UserError(
                f"{run.tokenizer_path} is missing; put the tokenizer back that the run was trained with"
            )
        data = replace(config.data, tokenizer_path=str(run.tokenizer_path))
        return cls.prepare(replace(config, data=data))

    @property
    def name(self) -> str:
        """As shown beside every figure, label included."""
        return self.config.task

    @property
    def classes(self) -> int:
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
        return changed_names(fingerprint, self.fingerprint())

    def store(self, run: RunFolder) -> None:
        """The tokenizer, unless it is there."""
        if not run.tokenizer_path.exists():
            self.tokenizer.save_copy(run.tokenizer_path)

    def build_model(self) -> torch.nn.Module:
        """The model, freshly initialised from torch's global generator."""
        return models.build_model(self.config.model, self.classes)

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

    def tally(self, split: Split, device: torch.device) -> LanguageTally:
        """Counts an evaluation by both protocols."""
        return LanguageTally(split, self.tokenizer.pad_id, device)

    def _evaluation_split(self, split: PackedSplit) -> Split:
        data = self.config.data
        loader = BatchLoader(split.rows, data.batch_size, num_workers=data.num_workers)
        return Split(loader, split.statistics.target_bytes, split.statistics.target_words)
