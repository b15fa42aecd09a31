import random
import signal

import numpy as np
import pytest
import torch

from arsbench.data.loader import BatchLoader
from arsbench.errors import UserError

ROWS = np.arange(23 * 5, dtype=np.int32).reshape(23, 5)


def training(seed=42, **more):
    return BatchLoader(ROWS, 4, seed=seed, shuffle=True, drop_last=True, **more)


def batches(loader, *position):
    return [torch.cat([inputs, targets[:, -1:]], dim=1) for inputs, targets in loader.epoch(*position)]


def same(ours, others):
    return len(ours) == len(others) and all(map(torch.equal, ours, others))


def test_shapes_and_shift():
    inputs, targets = next(training().epoch(1))
    assert inputs.shape == targets.shape == (4, 4)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous()
    assert targets.is_contiguous()
    assert torch.equal(inputs + 1, targets)  # ROWS counts upwards


def test_training_shuffles_and_drops_the_incomplete_batch():
    loader = training()
    seen = torch.cat(batches(loader, 1))
    assert loader.steps_per_epoch == 5
    assert len(seen) == 20
    assert len(set(seen[:, 0].tolist())) == 20
    assert seen[:, 0].tolist() != sorted(seen[:, 0].tolist())


def test_evaluation_keeps_order_and_the_last_batch():
    loader = BatchLoader(ROWS, 4)
    assert loader.steps_per_epoch == 6
    assert torch.equal(torch.cat(batches(loader)), torch.from_numpy(ROWS.astype(np.int64)))
    assert BatchLoader(ROWS[:20], 4).steps_per_epoch == 5


def test_order_depends_on_seed_and_epoch_alone():
    orders = [batches(training(seed), epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    for i, ours in enumerate(orders):
        for j, others in enumerate(orders):
            assert same(ours, others) == (i == j)
    loader = training(1)
    list(loader.epoch(0))
    torch.manual_seed(99)
    assert same(batches(loader, 2), orders[5])


def test_a_position_restores_the_following_batches():
    whole = batches(training(), 3)
    for step in range(len(whole) + 1):
        assert same(batches(training(), 3, step), whole[step:])


def test_workers_give_the_same_batches():
    alone = batches(training(), 1)
    assert same(batches(training(num_workers=2), 1), alone)
    assert same(batches(training(num_workers=2), 1, 2), alone[2:])
    assert same(batches(BatchLoader(ROWS, 4, num_workers=1)), batches(BatchLoader(ROWS, 4)))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_global_random_states_are_left_alone(num_workers):
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = states()
    batches(training(num_workers=num_workers), 1)
    assert states() == before


def test_workers_ignore_interrupts():
    class Probe(np.ndarray):
        """Rows that say how their process takes SIGINT."""

        def __getitem__(self, index):
            if isinstance(index, np.ndarray):
                ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
                return np.full((len(index), 5), int(ignored), dtype=np.int32)
            return super().__getitem__(index)

    rows = ROWS.view(Probe)
    # A test run in the background of a shell may itself have been started deaf to SIGINT.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert batches(BatchLoader(rows, 4, num_workers=1))[0].unique().tolist() == [1]
        assert batches(BatchLoader(rows, 4))[0].unique().tolist() == [0]
    finally:
        signal.signal(signal.SIGINT, previous)


def test_an_abandoned_epoch_disturbs_nothing():
    loader = training(num_workers=1)
    iterator = loader.epoch(1)
    next(iterator)
    iterator.close()
    assert same(batches(loader, 1), batches(training(), 1))


def test_read_only_rows(tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert same(batches(BatchLoader(mapped, 4)), batches(BatchLoader(ROWS, 4)))


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "drop_last": True}])
def test_fewer_rows_than_a_batch(options):
    with pytest.raises(
        UserError, match=r"batch_size is 24, and .* fewer than one batch: 23 rows of 5 tokens"
    ):
        BatchLoader(ROWS, 24, **options)
    assert BatchLoader(ROWS, 23, **options).steps_per_epoch == 1
