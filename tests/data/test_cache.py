import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from arsbench.data.cache import cache_directory, cached_rows
from arsbench.data.packing import Statistics
from arsbench.files import sha256_of

STATISTICS = Statistics(2, 5, 1, 6, 40, 0.25, 34, 120, 20)
ROWS = np.arange(48, dtype=np.int32).reshape(6, 8)


class Packing:
    """Counts how often the rows are made."""

    def __init__(self, rows=ROWS):
        self.rows = rows
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.rows, STATISTICS


@pytest.fixture
def packing():
    return Packing()


def entry():
    (array,) = cache_directory().rglob("*.npy")
    return array, array.with_suffix(".json")


def test_directory(monkeypatch, tmp_path):
    assert cache_directory() == tmp_path / "cache" / "arsbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache" / "arsbench"


def test_second_call_reads_a_memory_map(packing, caplog):
    for _ in range(2):
        rows, statistics = cached_rows("text", "tokenizer", 7, packing)
        assert isinstance(rows, np.memmap)
        assert not rows.flags.writeable
        assert rows.dtype == np.int32
        assert np.array_equal(rows, ROWS)
        assert statistics == STATISTICS
    assert packing.calls == 1
    assert not caplog.records


def test_everything_that_decides_the_content_is_in_the_key(packing, monkeypatch):
    cached_rows("text", "tokenizer", 7, packing)
    cached_rows("other", "tokenizer", 7, packing)
    cached_rows("text", "other", 7, packing)
    cached_rows("text", "tokenizer", 8, packing)
    monkeypatch.setattr("arsbench.data.cache.PACKING_VERSION", -1)
    cached_rows("text", "tokenizer", 7, packing)
    assert packing.calls == 5


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda array, record: flip(array, -1),
        lambda array, record: flip(array, 0),
        lambda array, record: flip(array, 20),
        lambda array, record: array.write_bytes(array.read_bytes()[:-4]),
        lambda array, record: array.write_bytes(b""),
        lambda array, record: array.unlink(),
        lambda array, record: record.write_text(""),
        lambda array, record: record.write_text("[]"),
        lambda array, record: record.write_text("{}"),
        lambda array, record: record.write_bytes(b"\xff"),
        lambda array, record: record.write_text(record.read_text().replace("padding_share", "padding")),
    ],
)
def test_damage_is_noticed_said_and_repaired(packing, caplog, damage):
    cached_rows("text", "tokenizer", 7, packing)
    damage(*entry())
    with caplog.at_level(logging.WARNING):
        rows, statistics = cached_rows("text", "tokenizer", 7, packing)
    assert packing.calls == 2
    assert "damaged" in caplog.text
    assert np.array_equal(rows, ROWS)
    assert statistics == STATISTICS
    cached_rows("text", "tokenizer", 7, packing)
    assert packing.calls == 2


def test_an_entry_without_its_record_is_made_again_silently(packing, caplog):
    cached_rows("text", "tokenizer", 7, packing)
    entry()[1].unlink()
    cached_rows("text", "tokenizer", 7, packing)
    assert packing.calls == 2
    assert not caplog.records


def test_pickled_content_is_never_loaded(packing):
    """Even where the recorded hash fits it."""
    cached_rows("text", "tokenizer", 7, packing)
    array, record = entry()
    before = sha256_of(array)
    array.write_bytes(pickle.dumps(ROWS + 1))
    record.write_text(record.read_text().replace(before, sha256_of(array)))
    rows, _ = cached_rows("text", "tokenizer", 7, packing)
    assert packing.calls == 2
    assert np.array_equal(rows, ROWS)


def test_a_cache_that_cannot_be_written_is_done_without(packing, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        rows, statistics = cached_rows("text", "tokenizer", 7, packing)
    assert np.array_equal(rows, ROWS)
    assert statistics == STATISTICS
    assert "are not cached" in caplog.text


def test_rows_in_use_outlive_their_replacement(packing):
    """A run that has the rows mapped keeps them when another one writes the entry anew."""
    rows, _ = cached_rows("text", "tokenizer", 7, packing)
    entry()[1].unlink()
    cached_rows("text", "tokenizer", 7, Packing(ROWS + 1))
    assert np.array_equal(rows, ROWS)
