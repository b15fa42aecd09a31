"""Timing: warm-up, alternating rounds, medians, and the machine's name beside every figure."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import torch

from arsbench import ops
from arsbench.environment import cpu_name, peak_resident_bytes
from arsbench.files import atomic_write
from benchmarks.rates import Rates, probes, rates_of

Run = Callable[[], object]

ROOT = Path(__file__).parents[1]
# A shorter call is repeated for this many seconds, and its mean time is taken.
MINIMUM_SECONDS = 0.2
# A contender is called "<kind>-<precision>".
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Unmeasurable(click.ClickException):
    """This machine or environment lacks something that the benchmark needs."""

    exit_code = 2


@dataclass(frozen=True)
class Row:
    """arsbench against one peer: median seconds, peak memory in MB, and ratios.

    Attributes:
        ratio: `peer_seconds` / `seconds`; above 1, arsbench is faster.
        floor_seconds: the least that the work takes at the rates of the same run.
        floor_ratio: `seconds` / `floor_seconds`.
        silicon_seconds: the floor at the rates of multiply-adds in registers.
        silicon_ratio: `seconds` / `silicon_seconds`.
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
    silicon_seconds: float | None = None
    silicon_ratio: float | None = None


def timed(run: Run, minimum_seconds: float) -> float:
    """Mean seconds of a call, over calls for at least `minimum_seconds`."""
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
    """Seconds of each contender in each round, and the machine's rates.

    Each contender is called once to warm up. Then all are timed in turn, round by round, so that a slow
    minute affects all of them alike, the rates included.

    Args:
        contenders: the functions to time, by name.
        rounds: how often each is timed.
        minimum_seconds: see `timed`.

    Raises:
        Unmeasurable: an op has no compiled kernel, so the reference would be compared with itself.
    """
    references = [op for op, backend in ops.backends("cpu").items() if backend == "reference"]
    if references:
        raise Unmeasurable(
            f"no compiled kernel for {', '.join(references)}: reinstall arsbench where a C++ compiler is "
            "available, without ARSBENCH_NATIVE=0"
        )
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


def floors(work: Callable[[Rates], float], rates: Rates) -> tuple[float, float]:
    """The seconds of a piece of work at the measured rates of products and at those of the silicon."""
    assert rates.silicon is not None
    return work(rates), work(rates.silicon)


def compare(
    name: str,
    seconds: list[float],
    peer: str,
    peer_seconds: list[float],
    peaks: tuple[float, float] | None = None,
    floors: tuple[float, float] | None = None,
) -> Row:
    """The medians of both, with their `peaks` (peak memory in MB) and the work's `floors`."""
    median, peer_median = statistics.median(seconds), statistics.median(peer_seconds)
    row = Row(name, median, peer, peer_median, peer_median / median, *(peaks or (None, None)))
    if floors is None:
        return row
    floor, silicon = floors
    return replace(
        row,
        floor_seconds=floor,
        floor_ratio=median / floor,
        silicon_seconds=silicon,
        silicon_ratio=median / silicon,
    )


def machine() -> dict[str, object]:
    """The machine and software that the figures were measured with."""
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
    """The machine in one line, the heading of tables and plots."""
    where = machine()
    return f"{where['cpu']}, {where['threads']} threads, torch {where['torch']}, {where['date']}"


def last_line_of(module: str, *arguments: str) -> str:
    """The last line that `python -m module arguments` prints."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return done.stdout.splitlines()[-1]


def print_peak(run: Run, calls: int = 1) -> None:
    """Print this process's peak resident memory in MB after this number of calls; `peaks_of` reads it."""
    for _ in range(calls):
        run()
    print(peak_resident_bytes() / 1e6)


def peaks_of(module: str, contenders: Iterable[str]) -> dict[str, float]:
    """Peak resident memory in MB of each contender, in a separate process `python -m module --peak NAME`."""
    peaks = {}
    for name in contenders:
        print(f"peak memory of {name} ...", flush=True)
        peaks[name] = float(last_line_of(module, "--peak", name))
    return peaks


def common_options(rounds: int = 5) -> Callable[[Callable], Callable]:
    """Add the options `--rounds` (with this default) and `--json`."""
    rounds_option = click.option(
        "--rounds",
        default=rounds,
        show_default=True,
        type=click.IntRange(1),
        help="Timings of each contender.",
    )
    json_option = click.option(
        "--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file."
    )
    return lambda command: rounds_option(json_option(command))


def publish(rows: list[Row], rates: Rates, json_path: Path | None, **facts: object) -> None:
    """Print the rows below the machine's name and rates, and write them to `json_path` if it is not None.

    The file contains `{"machine": …, "rates": …, "rows": […]}` and `facts`.
    """
    print(f"\n{machine_line()}")
    print(
        f"float32 {rates.float32 / 1e9:,.1f} GFLOP/s, bfloat16 {rates.bfloat16 / 1e9:,.1f} GFLOP/s, "
        f"copy {rates.copy / 1e9:,.1f} GB/s"
    )
    if rates.silicon is not None:
        print(
            f"silicon: float32 {rates.silicon.float32 / 1e9:,.1f} GFLOP/s, "
            f"bfloat16 {rates.silicon.bfloat16 / 1e9:,.1f} GFLOP/s"
        )
    width = max(len(row.name) for row in rows)
    print(
        f"{'arsbench':{width}} {'s':>9}  {'peer':17} {'s':>9}  {'ratio':>7}  {'floor s':>9}  {'× floor':>7}  "
        f"{'× silicon':>9}  {'peak MB':>8}  {'peer MB':>8}"
    )
    for row in rows:
        print(
            f"{row.name:{width}} {row.seconds:9.4f}  {row.peer:17} {row.peer_seconds:9.4f}  "
            f"{row.ratio:6.2f}x  {_formatted(row.floor_seconds, '.4f'):>9}  "
            f"{_formatted(row.floor_ratio, '.2f'):>7}  "
            f"{_formatted(row.silicon_ratio, '.2f'):>9}  {_formatted(row.peak_rss_mb, ',.0f'):>8}  "
            f"{_formatted(row.peer_peak_rss_mb, ',.0f'):>8}"
        )
    if json_path is not None:
        figures = {"machine": machine(), "rates": asdict(rates), "rows": [asdict(row) for row in rows]}
        with atomic_write(json_path) as file:
            json.dump(figures | facts, file, indent=2)
            file.write("\n")


def precisions_command(
    module: str, contender: Callable[[str, torch.dtype], Run], peers: Sequence[str], flops: int
) -> click.Command:
    """The command of an op's benchmark: arsbench against the peers, in float32 and in bf16.

    Args:
        module: the benchmark's module, run again for each contender's peak memory.
        contender: makes the function to time from a kind ("arsbench" or a peer) and a dtype.
        peers: the kinds of the peers.
        flops: floating-point operations of the matrix products; divided by their rate they are the floor.
    """
    names = [f"{kind}-{precision}" for precision in PRECISIONS for kind in ("arsbench", *peers)]

    def named(name: str) -> Run:
        kind, precision = name.split("-")
        return contender(kind, PRECISIONS[precision])

    @click.command()
    @common_options()
    @click.option("--peak", type=click.Choice(names), help="Only print this contender's peak memory in MB.")
    def main(rounds: int, json_path: Path | None, peak: str | None) -> None:
        """Time arsbench and its peers, and print a table."""
        if peak is not None:
            print_peak(named(peak))
            return
        seconds, rates = measure({name: named(name) for name in names}, rounds)
        peaks = peaks_of(module, names)
        rows = []
        for precision, dtype in PRECISIONS.items():
            name = f"arsbench-{precision}"
            least = floors(lambda rates, dtype=dtype: flops / rates.products(dtype), rates)
            for peer in (f"{kind}-{precision}" for kind in peers):
                both = (peaks[name], peaks[peer])
                rows.append(compare(name, seconds[name], peer, seconds[peer], both, least))
        publish(rows, rates, json_path)

    return main


def _formatted(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
