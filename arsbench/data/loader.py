"""Batches of packed rows, in an order that a position restores."""

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

    The order of an epoch depends on the seed and the epoch's number alone, never on a random state or on
    `num_workers`, so (epoch, step) is the whole position: `epoch(e, start=s)` gives what followed step s.
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
        """Training shuffles and drops the last incomplete batch; evaluation keeps order and every row.

        Args:
            rows: int32 (rows, sequence_length + 1).
            batch_size: rows in a batch.
            seed: decides every epoch's order, with the epoch's number.
            shuffle: draw an order for each epoch.
            drop_last: leave out a last batch that is not full.
            num_workers: processes that make batches ahead of time; 0 makes them when asked.

        Raises:
            UserError: fewer rows than one batch takes.
        """
        if len(rows) < batch_size:
            raise UserError(
                f"the text makes {len(rows)} rows of {rows.shape[1]} tokens, fewer than one batch of "
                f"{batch_size}; use a longer text, or a smaller data.batch_size or model.sequence_length"
            )
        self._rows = rows
        self.batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._num_workers = num_workers
        full, rest = divmod(len(rows), batch_size)
        self.steps_per_epoch = full if drop_last or not rest else full + 1

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of one epoch, from step `start` on (0-based).

        Yields:
            inputs, targets: int64 (B, sequence_length) each, on the CPU; B is `batch_size`, or less in a
            last batch that was kept.
        """
        order = self._order(epoch)
        batches = [
            order[step * self.batch_size : (step + 1) * self.batch_size]
            for step in range(start, self.steps_per_epoch)
        ]
        # DataLoader draws a seed for its workers: from a generator of its own, not from the global one.
        yield from DataLoader(
            _Rows(self._rows),
            sampler=batches,
            batch_size=None,
            num_workers=self._num_workers,
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),
        )

    def _order(self, epoch: int) -> np.ndarray:
        if not self._shuffle:
            return np.arange(len(self._rows))
        return shuffled(len(self._rows), self._seed, epoch).numpy()


def shuffled(count: int, seed: int, epoch: int) -> torch.Tensor:
    """The numbers below `count`, int64 (count,), in an order that seed and epoch alone decide."""
    # torch's CPU generator takes 32 bits: hashing spreads the pair over them, so that neither sums nor
    # neighbours of (seed, epoch) meet.
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
    return torch.randperm(count, generator=generator)


class _Rows(Dataset):
    """Indexed by a whole batch's row numbers."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows

    def __getitem__(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        batch = torch.from_numpy(self._rows[indices].astype(np.int64))  # (B, sequence_length + 1)
        # Copies of their own, so that both are contiguous and travel well between processes.
        return batch[:, :-1].contiguous(), batch[:, 1:].contiguous()


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal: the trainer decides, the workers keep serving it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
