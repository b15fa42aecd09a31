"""Language modelling on sentences packed into rows ("wikitext2_line", ARS.md §3)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from arsbench import models
from arsbench.config import Config
from arsbench.data import load_corpus
from arsbench.data.loader import BatchLoader
from arsbench.errors import UserError
from arsbench.metrics import perplexity
from arsbench.runs.folder import RunFolder
from arsbench.tasks.task import Task

# torch's default `ignore_index`, which is never a token.
IGNORED = -100


@dataclass(frozen=True)
class TextSplit:
    """One evaluation text: its rows in order, and the numbers that the strict protocol divides by."""

    loader: BatchLoader
    bytes: int
    words: int

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets, (B, T) int64 each, the last batch possibly of fewer rows."""
        return self.loader.epoch(0)


class LanguageTally:
    """Both protocols of evaluation in one pass (ARS.md §4)."""

    def __init__(self, split: TextSplit, pad_id: int, device: torch.device) -> None:
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
            per white-space word, and the number of targets, bytes and words.
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


class WikiText2Line(Task):
    """The texts are read, tokenized and packed, or taken from the cache.

    Args:
        config: the run's configuration.
        run: a stored run, whose tokenizer is used whatever `data.tokenizer_path` holds now.

    Attributes:
        config: the same, with the path of the tokenizer in use.
        corpus: the texts, tokenized and packed.
        tokenizer: the corpus's.

    Raises:
        UserError: the model's type does not fit, a text or the tokenizer cannot be read, or a text does not
            fill one batch.
    """

    def __init__(self, config: Config, run: RunFolder | None = None) -> None:
        self.config = config
        self._require_model("rope", "seed")
        if run is not None:
            if not run.tokenizer_path.exists():
                raise UserError(
                    f"{run.tokenizer_path} is missing; restore the tokenizer that the run was trained with"
                )
            self.config = replace(config, data=replace(config.data, tokenizer_path=str(run.tokenizer_path)))
        data, model = self.config.data, config.model
        self.corpus = load_corpus(
            data, vocabulary_size=model.vocabulary_size, sequence_length=model.sequence_length
        )
        self.tokenizer = self.corpus.tokenizer
        self._training = BatchLoader(
            self.corpus.train.rows,
            data.batch_size,
            seed=config.experiment.seed,
            shuffle=True,
            drop_last=True,
            num_workers=data.num_workers,
        )
        # Made now, so that a text that is too short is reported before training.
        self._evaluation = {}
        for name, split in self.corpus.splits().items():
            if name != "train":
                loader = BatchLoader(split.rows, data.batch_size, num_workers=data.num_workers)
                statistics = split.statistics
                self._evaluation[name] = TextSplit(loader, statistics.target_bytes, statistics.target_words)
        self._require_steps(self._training.steps_per_epoch, "the training text")

    @property
    def classes(self) -> int:
        """Entries of the tokenizer, which is the model's vocabulary."""
        return self.tokenizer.vocabulary_size

    @property
    def steps_per_epoch(self) -> int:
        return self._training.steps_per_epoch // self.config.train.accumulate

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_id

    def fingerprint(self) -> dict[str, str]:
        """Hashes of the rows and of the tokenizer, which a resumed run needs unchanged."""
        splits = self.corpus.splits().items()
        rows = {name: hashlib.sha256(np.ascontiguousarray(split.rows)).hexdigest() for name, split in splits}
        return {**rows, "tokenizer": self.tokenizer.sha256}

    def store(self, run: RunFolder) -> None:
        """Copy the tokenizer to the run's folder, unless it is there."""
        if not run.tokenizer_path.exists():
            self.tokenizer.save_copy(run.tokenizer_path)

    def build_model(self) -> torch.nn.Module:
        return models.build_model(self.config.model, self.classes)

    def training_steps(self, epoch: int, start: int = 0) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """As `Task.training_steps`; inputs and targets are (B, T) int64."""
        accumulate = self.config.train.accumulate
        batches = self._training.epoch(epoch, start * accumulate)
        for _ in range(start, self.steps_per_epoch):
            yield [next(batches) for _ in range(accumulate)]

    def loss(self, model: torch.nn.Module, inputs: Tensor, targets: Tensor) -> models.LossOutput:
        """The training loss of a batch: mean over targets, padding as `train.ignore_padding` says."""
        if self.config.train.ignore_padding:
            targets = targets.masked_fill(targets == self.pad_id, IGNORED)
        return model.loss(inputs, targets, ignore_index=IGNORED)

    def evaluation_splits(self) -> dict[str, TextSplit]:
        return self._evaluation

    def tally(self, split: TextSplit, device: torch.device) -> LanguageTally:
        return LanguageTally(split, self.pad_id, device)
