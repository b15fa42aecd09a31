"""Batches of packed rows, in an order that (epoch, step) determines."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from arsbench.errors import UserError


class BatchLoader:
    """Batches of a split's rows.

    The order of an epoch depends only on the seed and the epoch's number, not on a random state or on
    `num_workers`. So (epoch, step) is the whole position: `epoch(e, start=s)` yields what followed step s.
    No global random state is read or changed.

    Attributes:
        batch_size: rows in a batch.
        steps_per_epoch: number of batches in an epoch.
    """

    def __init__(
        self,
        rows: np.ndarray,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int = 0,
    ) -> None:
        """Training shuffles and drops an incomplete last batch; evaluation keeps the order and every row.

        Args:
            rows: int32 (rows, sequence_length + 1).
            batch_size: rows in a batch.
            seed: decides the order of every epoch, with the epoch's number.
            shuffle: draw a new order for each epoch.
            drop_last: leave out an incomplete last batch.
            num_workers: processes that make batches ahead of time; 0 makes them on demand.

        Raises:
            UserError: fewer rows than one batch.
        """
        if len(rows) < batch_size:
            raise UserError(
                f"data.batch_size is {batch_size}, and the text makes fewer than one batch: {len(rows)} rows "
                f"of {rows.shape[1]} tokens; use a longer text, or lower data.batch_size or "
                f"model.sequence_length"
            )
        self._rows = rows
        self.batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._num_workers = num_workers
        full, rest = divmod(len(rows), batch_size)
        self.steps_per_epoch = full if drop_last or not rest else full + 1

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of an epoch, from its step `start` (0-based) on.

        Yields:
            inputs, targets: int64 (B, sequence_length) each, on the CPU; B is `batch_size`, or less in an
            incomplete last batch.
        """
        count = len(self._rows)
        order = shuffled(count, self._seed, epoch).numpy() if self._shuffle else np.arange(count)
        batches = [
            order[step * self.batch_size : (step + 1) * self.batch_size]
            for step in range(start, self.steps_per_epoch)
        ]
        # A separate generator: DataLoader draws a seed for its workers, by default from the global generator.
        yield from DataLoader(
            _Rows(self._rows),
            sampler=batches,
            batch_size=None,
            num_workers=self._num_workers,
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),
        )


def shuffled(count: int, seed: int, epoch: int) -> torch.Tensor:
    """A permutation of the numbers below `count`, int64 (count,), from seed and epoch only."""
    # torch's CPU generator uses 32 bits of a seed; hashing avoids collisions between similar (seed, epoch).
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
    return torch.randperm(count, generator=generator)


class _Rows(Dataset):
    """Rows indexed by the row numbers of a whole batch."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows

    def __getitem__(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        batch = torch.from_numpy(self._rows[indices].astype(np.int64))  # (B, sequence_length + 1)
        # Two contiguous copies: they are cheaper to send between processes than two views.
        return batch[:, :-1].contiguous(), batch[:, 1:].contiguous()


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; only the trainer reacts to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
