"""Time and memory of each op over length, vocabulary, width, tokens and threads; `make sweep`.

Float32, forward and backward where the op has a backward, arsbench against plain PyTorch. Each point is
measured in a separate process. Its memory is that process's peak minus the resident memory before the op ran,
so inputs do not count and gradients do. Plain PyTorch fits into 16 GB at all sizes, and two cores take about
eight minutes.

    python -m benchmarks.sweep [--rounds 5] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from arsbench.environment import peak_resident_bytes
from benchmarks import linear_cross_entropy, newton_schulz, rope_attention
from benchmarks.floors import attention_flops, head_flops, newton_schulz_flops
from benchmarks.harness import (
    MINIMUM_SECONDS,
    Row,
    Run,
    common_options,
    compare,
    floors,
    last_line_of,
    machine_line,
    measure,
    publish,
    timed,
)
from benchmarks.rates import Rates

KINDS = ("arsbench", "eager")
ROWS, HEADS, HEAD_DIM = 1, 6, 128
# A slow point is timed in fewer rounds: none begins after this many seconds.
SECONDS_A_POINT = 3.0
# All sizes of the first call, which loads the libraries' code before memory is measured.
TINY = 16


@dataclass(frozen=True)
class Sweep:
    """An op over the values of one size or of `threads`; its other sizes are fixed."""

    op: str
    axis: str
    values: tuple[int, ...]
    fixed: dict[str, int]

    def point(self, value: int) -> dict[str, int]:
        """All sizes of a point, `threads` included."""
        return {"threads": torch.get_num_threads(), **self.fixed, self.axis: value}


def sweeps() -> list[Sweep]:
    """All sweeps, in the order of the plot."""
    cores = os.cpu_count() or 1
    threads = tuple(sorted({min(2**power, cores) for power in range(cores.bit_length() + 1)}))
    head = {"tokens": 512, "width": 512, "vocabulary": 16_384}
    attention = {"length": 1024}
    matrix = {"width": 1024}
    return [
        Sweep("linear_cross_entropy", "vocabulary", (8_192, 16_384, 32_768, 65_536, 131_072), head),
        Sweep("linear_cross_entropy", "width", (256, 512, 1024, 2048), head),
        Sweep("linear_cross_entropy", "tokens", (256, 1024, 4096), head),
        Sweep("linear_cross_entropy", "threads", threads, head),
        Sweep("rope_attention", "length", (255, 512, 1024, 2048, 4096), attention),
        Sweep("rope_attention", "threads", threads, attention),
        Sweep("newton_schulz", "width", (256, 512, 1024, 2048), matrix),
        Sweep("newton_schulz", "threads", threads, matrix),
    ]


def contender(op: str, kind: str, sizes: dict[str, int]) -> Run:
    """The function to time: an op of a kind at the sizes of a point."""
    if op == "linear_cross_entropy":
        shape = (sizes["tokens"], sizes["width"], sizes["vocabulary"])
        return linear_cross_entropy.contender(kind, torch.float32, *shape)
    if op == "rope_attention":
        return rope_attention.contender(kind, torch.float32, ROWS, sizes["length"], HEADS, HEAD_DIM)
    torch.manual_seed(0)
    return newton_schulz.contender(kind, [torch.randn(sizes["width"], sizes["width"])])


def floor_seconds(op: str, sizes: dict[str, int], rates: Rates) -> float:
    """The floor of a point in seconds."""
    if op == "linear_cross_entropy":
        flops = head_flops(sizes["tokens"], sizes["width"], sizes["vocabulary"])
        return flops / rates.products(torch.float32)
    if op == "rope_attention":
        return attention_flops(ROWS, sizes["length"], HEADS, HEAD_DIM) / rates.products(torch.float32)
    shape = torch.Size((sizes["width"], sizes["width"]))
    return newton_schulz_flops([shape], newton_schulz.STEPS) / rates.products(torch.bfloat16)


def measure_here(op: str, kind: str, sizes: dict[str, int], rounds: int) -> dict[str, object]:
    """Seconds and memory in MB of a point, in a process that does nothing else."""
    torch.set_num_threads(sizes["threads"])
    contender(op, kind, dict.fromkeys(sizes, TINY))()
    run = contender(op, kind, sizes)
    before = resident_bytes()
    run()
    seconds: list[float] = []
    while len(seconds) < rounds and sum(seconds) < SECONDS_A_POINT:
        seconds.append(timed(run, MINIMUM_SECONDS))
    return {"seconds": seconds, "megabytes": (peak_resident_bytes() - before) / 1e6}


def resident_bytes() -> int:
    """This process's resident memory in bytes; its peak on systems without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except OSError:
        return peak_resident_bytes()  # not Linux
    return pages * os.sysconf("SC_PAGE_SIZE")


def run_sweep(sweep: Sweep, rounds: int, rates: dict[int, Rates]) -> list[Row]:
    """A row for each value; `rates` by number of threads."""
    rows = []
    for value in sweep.values:
        sizes = sweep.point(value)
        name = f"{sweep.op} {sweep.axis}={value}"
        results = []
        for kind in KINDS:
            print(f"{name} {kind} ...", flush=True)
            request = json.dumps({"op": sweep.op, "kind": kind, "sizes": sizes, "rounds": rounds})
            results.append(json.loads(last_line_of("benchmarks.sweep", "--point", request)))
        kernel, eager = results
        peaks = (kernel["megabytes"], eager["megabytes"])
        least = floors(
            lambda rates, sizes=sizes: floor_seconds(sweep.op, sizes, rates), rates[sizes["threads"]]
        )
        rows.append(compare(name, kernel["seconds"], "eager", eager["seconds"], peaks, least))
    return rows


def rates_by_threads(counts: set[int]) -> dict[int, Rates]:
    """The machine's rates at each number of threads."""
    default, rates = torch.get_num_threads(), {}
    for count in sorted(counts):
        torch.set_num_threads(count)
        _, rates[count] = measure({}, rounds=3)
    torch.set_num_threads(default)
    return rates


@click.command()
@common_options()
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help="Draw the figures into this .png or .svg file.",
)
@click.option("--point", hidden=True, help="Only measure this point (JSON) and print the result as JSON.")
def main(rounds: int, json_path: Path | None, plot_path: Path | None, point: str | None) -> None:
    """Time arsbench and plain PyTorch over each size, and print a table."""
    if point is not None:
        print(json.dumps(measure_here(**json.loads(point))))
        return
    if plot_path is not None and plot_path.suffix not in (".png", ".svg"):
        raise click.BadParameter(f"{plot_path} must end in .png or .svg", param_hint="--plot")
    every = sweeps()
    rates = rates_by_threads({sweep.point(value)["threads"] for sweep in every for value in sweep.values})
    rows = [run_sweep(sweep, rounds, rates) for sweep in every]
    publish(
        [row for rows_of_sweep in rows for row in rows_of_sweep], rates[torch.get_num_threads()], json_path
    )
    if plot_path is not None:
        from benchmarks.sweep_plot import Panel, plot

        panels = [
            Panel(sweep.op, sweep.axis, sweep.values, rows_of_sweep)
            for sweep, rows_of_sweep in zip(every, rows, strict=True)
        ]
        plot(plot_path, panels, machine_line())


if __name__ == "__main__":
    main()
