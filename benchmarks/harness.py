"""Honest timing: warm-up, alternating rounds, medians, and the machine's name beside every figure."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from arsbench.environment import cpu_name
from arsbench.files import atomic_write


@dataclass(frozen=True)
class Row:
    """One of ours against one peer: median seconds, their ratio (above 1: ours is faster), peak memory."""

    name: str
    seconds: float
    peer: str
    peer_seconds: float
    ratio: float
    peak_rss_mb: float | None
    peer_peak_rss_mb: float | None


def alternate(
    contenders: Mapping[str, Callable[[], None]], rounds: int, report: Callable[[str], None]
) -> dict[str, list[float]]:
    """Seconds of each contender, measured in turn, round by round, so that a slow minute hurts all alike.

    Args:
        contenders: by name, what is timed; call each once or more before, to warm it up.
        rounds: how often each is timed.
        report: told of each timing in a line.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
            report(f"round {index + 1}/{rounds}  {name:24} {seconds[name][-1]:.3f} s")
    return seconds


def compare(
    name: str,
    seconds: list[float],
    peer: str,
    peer_seconds: list[float],
    peaks: tuple[float, float] | None = None,
) -> Row:
    """The medians of ours and of a peer beside each other; `peaks` are both peak memories in MB."""
    ours, theirs = statistics.median(seconds), statistics.median(peer_seconds)
    peak, peer_peak = peaks or (None, None)
    return Row(name, ours, peer, theirs, theirs / ours, peak, peer_peak)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def peak_rss_of(module: str, *arguments: str) -> float:
    """Peak resident memory in MB of `python -m module arguments`, which prints it as its last line."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def print_table(rows: list[Row]) -> None:
    """The rows, a line each, under the machine's name."""
    where = machine()
    print(f"\n{where['cpu']}, {where['threads']} threads, torch {where['torch']}, {where['date']}")
    print(f"{'ours':14} {'s':>8}  {'peer':14} {'s':>8}  {'ratio':>6}  {'peak MB':>8}  {'peer MB':>8}")
    for row in rows:
        print(
            f"{row.name:14} {row.seconds:8.3f}  {row.peer:14} {row.peer_seconds:8.3f}  {row.ratio:5.2f}x  "
            f"{_megabytes(row.peak_rss_mb):>8}  {_megabytes(row.peer_peak_rss_mb):>8}"
        )


def write_json(path: Path, rows: list[Row]) -> None:
    """`{"machine": …, "rows": […]}`, whole or not at all."""
    with atomic_write(path) as file:
        json.dump({"machine": machine(), "rows": [asdict(row) for row in rows]}, file, indent=2)
        file.write("\n")


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
