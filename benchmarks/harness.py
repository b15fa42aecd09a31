"""Honest timing: warm-up, alternating rounds, medians, and the machine's name beside every figure."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import torch

from arsbench import ops
from arsbench.environment import cpu_name, peak_resident_bytes
from arsbench.files import atomic_write
from benchmarks.rates import Rates, probes, rates_of

Run = Callable[[], object]

# Shorter calls are repeated until this many seconds have passed, and their mean is taken.
MINIMUM_SECONDS = 0.2
# The names of the precisions, as they end the contenders' names: "<kind>-<precision>".
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Row:
    """One of ours against one peer: median seconds, their ratio (above 1: ours is faster), peak memory.

    `floor_seconds` is the least that the work takes at the rates of the same run, `floor_ratio` how many
    times that ours takes.
    """

    name: str
    seconds: float
    peer: str
    peer_seconds: float
    ratio: float
    peak_rss_mb: float | None
    peer_peak_rss_mb: float | None
    floor_seconds: float | None = None
    floor_ratio: float | None = None


def timed(run: Run, minimum_seconds: float) -> float:
    """Seconds of a call, the mean of as many as `minimum_seconds` take."""
    calls = 0
    started = time.perf_counter()
    while True:
        run()
        calls += 1
        elapsed = time.perf_counter() - started
        if elapsed >= minimum_seconds:
            return elapsed / calls


def measure(
    contenders: Mapping[str, Run], rounds: int, minimum_seconds: float = MINIMUM_SECONDS
) -> tuple[dict[str, list[float]], Rates]:
    """Seconds of each contender, and the machine's rates.

    Without compiled kernels ours would be a reference, and compared with itself: that is refused. Each is
    called once to warm it up. Then all are timed in turn, round by round, so that a slow minute hurts
    all alike, the rates included.

    Args:
        contenders: by name, what is timed.
        rounds: how often each is timed.
        minimum_seconds: see `timed`.
    """
    if "reference" in ops.backends("cpu").values():
        raise click.ClickException("an op has no compiled kernel here: there is nothing to measure")
    runs = {**probes(), **contenders}
    for name, run in runs.items():
        print(f"warming up {name} ...", flush=True)
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds):
        for name, run in runs.items():
            seconds[name].append(timed(run, minimum_seconds))
            print(f"round {index + 1}/{rounds}  {name:24} {seconds[name][-1]:.4f} s", flush=True)
    return seconds, rates_of(seconds)


def compare(
    name: str,
    seconds: list[float],
    peer: str,
    peer_seconds: list[float],
    peaks: tuple[float, float] | None = None,
    floor_seconds: float | None = None,
) -> Row:
    """The medians of ours and of a peer beside each other; `peaks` are both peak memories in MB."""
    ours, theirs = statistics.median(seconds), statistics.median(peer_seconds)
    peak, peer_peak = peaks or (None, None)
    floor_ratio = None if floor_seconds is None else ours / floor_seconds
    return Row(name, ours, peer, theirs, theirs / ours, peak, peer_peak, floor_seconds, floor_ratio)


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


def machine_line() -> str:
    """The machine in a line, as it heads tables and plots."""
    where = machine()
    return f"{where['cpu']}, {where['threads']} threads, torch {where['torch']}, {where['date']}"


def last_line_of(module: str, *arguments: str) -> str:
    """The last line that `python -m module arguments` prints."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1]


def print_peak(run: Run, calls: int = 1) -> None:
    """Print this process's peak resident memory in MB after so many calls: the other end of `peaks_of`."""
    for _ in range(calls):
        run()
    print(peak_resident_bytes() / 1e6)


def peaks_of(module: str, contenders: Iterable[str]) -> dict[str, float]:
    """Peak resident memory in MB of each contender, in its own process `python -m module --peak NAME`."""
    peaks = {}
    for name in contenders:
        print(f"peak memory of {name} ...", flush=True)
        peaks[name] = float(last_line_of(module, "--peak", name))
    return peaks


def common_options(command: Callable) -> Callable:
    """`--rounds` and `--json`, which every benchmark has."""
    rounds = click.option("--rounds", default=5, show_default=True, type=click.IntRange(1))
    json_path = click.option(
        "--json", "json_path", type=click.Path(path_type=Path), help="Write the figures here."
    )
    return rounds(json_path(command))


def publish(rows: list[Row], rates: Rates, json_path: Path | None, **facts: object) -> None:
    """Print the rows under the machine's name and its rates; write them to `json_path` where there is one.

    The file holds `{"machine": …, "rates": …, "rows": […]}` and `facts`.
    """
    print(f"\n{machine_line()}")
    print(
        f"float32 {rates.float32 / 1e9:,.1f} GFLOP/s, bfloat16 {rates.bfloat16 / 1e9:,.1f} GFLOP/s, "
        f"copy {rates.copy / 1e9:,.1f} GB/s"
    )
    width = max(len(row.name) for row in rows)
    print(
        f"{'ours':{width}} {'s':>9}  {'peer':14} {'s':>9}  {'ratio':>7}  {'floor s':>9}  {'× floor':>7}  "
        f"{'peak MB':>8}  {'peer MB':>8}"
    )
    for row in rows:
        print(
            f"{row.name:{width}} {row.seconds:9.4f}  {row.peer:14} {row.peer_seconds:9.4f}  "
            f"{row.ratio:6.2f}x  {_shown(row.floor_seconds, '.4f'):>9}  "
            f"{_shown(row.floor_ratio, '.2f'):>7}  {_shown(row.peak_rss_mb, ',.0f'):>8}  "
            f"{_shown(row.peer_peak_rss_mb, ',.0f'):>8}"
        )
    if json_path is not None:
        figures = {"machine": machine(), "rates": asdict(rates), "rows": [asdict(row) for row in rows]}
        with atomic_write(json_path) as file:
            json.dump(figures | facts, file, indent=2)
            file.write("\n")


def precisions_command(
    module: str, contender: Callable[[str, torch.dtype], Run], peers: Sequence[str], flops: int
) -> click.Command:
    """The command line of an op's benchmark: ours against the peers, in float32 and in bf16.

    Args:
        module: the benchmark's, to be run again for each contender's peak memory.
        contender: makes what is timed from its kind ("ours" or a peer) and dtype.
        peers: their kinds.
        flops: of the products; over their rate they are the floor.
    """
    names = [f"{kind}-{precision}" for precision in PRECISIONS for kind in ("ours", *peers)]

    def named(name: str) -> Run:
        kind, precision = name.split("-")
        return contender(kind, PRECISIONS[precision])

    @click.command()
    @common_options
    @click.option("--peak", type=click.Choice(names), help="Only print this contender's peak memory in MB.")
    def main(rounds: int, json_path: Path | None, peak: str | None) -> None:
        """Time and compare; prints a table."""
        if peak is not None:
            print_peak(named(peak))
            return
        seconds, rates = measure({name: named(name) for name in names}, rounds)
        peaks = peaks_of(module, names)
        rows = []
        for precision, dtype in PRECISIONS.items():
            ours, floor = f"ours-{precision}", flops / rates.products(dtype)
            for peer in (f"{kind}-{precision}" for kind in peers):
                both = (peaks[ours], peaks[peer])
                rows.append(compare(ours, seconds[ours], peer, seconds[peer], both, floor))
        publish(rows, rates, json_path)

    return main


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
