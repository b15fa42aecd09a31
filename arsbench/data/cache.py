"""Packed rows kept on disk, so that a text is tokenized once.

An entry is two files named by its key: the rows as .npy, which is memory-mapped, and a JSON file with the
statistics and the hash of the first. Nothing is pickled. A damaged entry is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from arsbench.data.packing import PACKING_VERSION, Statistics
from arsbench.documents import parse_json
from arsbench.errors import UserError
from arsbench.files import atomic_write, read_regular, sha256_of

_logger = logging.getLogger(__name__)


def cache_directory() -> Path:
    """`$XDG_CACHE_HOME/arsbench`, or `~/.cache/arsbench` where that is unset."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arsbench"


def cached_rows(
    text_sha256: str,
    tokenizer_sha256: str,
    sequence_length: int,
    pack: Callable[[], tuple[np.ndarray, Statistics]],
) -> tuple[np.ndarray, Statistics]:
    """The rows that `pack` makes, from the cache if they are there.

    The other arguments and the packing's version decide the content and form the key. A damaged entry is
    replaced; if the cache cannot be written, the rows are used without it. Both are logged.

    Returns:
        rows: int32 (rows, sequence_length + 1), read-only where it comes from the cache.
        statistics: those of the packing.
    """
    key = json.dumps([text_sha256, tokenizer_sha256, sequence_length, PACKING_VERSION])
    stem = cache_directory() / "packed" / hashlib.sha256(key.encode()).hexdigest()
    array, record = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if record.exists():
        try:
            return _read(array, record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            _logger.warning("the cached rows in %s are damaged (%s); they are packed again", array, error)
    rows, statistics = pack()
    try:
        with atomic_write(array, "wb") as file:
            np.save(file, rows, allow_pickle=False)
        # The record comes last: an entry without a record is incomplete and not used.
        with atomic_write(record) as file:
            json.dump({"sha256": sha256_of(array), "statistics": asdict(statistics)}, file, indent=2)
        return _read(array, record)
    except (UserError, OSError, ValueError) as error:
        _logger.warning("the packed rows are not cached: %s", error)
        return rows, statistics


def _read(array: Path, record: Path) -> tuple[np.ndarray, Statistics]:
    entry = parse_json(read_regular(record))
    if entry["sha256"] != sha256_of(array):
        raise ValueError("the hash differs from the recorded one")
    return np.load(array, mmap_mode="r", allow_pickle=False), Statistics(**entry["statistics"])
