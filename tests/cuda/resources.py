"""Compile every CUDA kernel for real GPUs, without register spills, and print the resources that it needs.

    python tests/cuda/resources.py [--write]

Needs nvcc (in CUDA_HOME, on the PATH or in /usr/local/cuda) and a C++ compiler, but no GPU and no torch. The
table shows registers, shared memory per block, and the theoretical occupancy: the share of a multiprocessor's
warps that can be resident at once. ptxas reports registers and static shared memory; the launch code, run on
the host, reports threads and dynamic shared memory.

docs/kernels.md contains the table. `--write` updates it; otherwise a different table is an error. Another
version of nvcc may use other registers, and then only spills are errors.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "kernels.md"
EMULATOR = ROOT / "tests" / "simt_emulator"


@dataclass(frozen=True)
class Multiprocessor:
    """Limits of one multiprocessor (CUDA C++ Programming Guide, "Compute Capabilities")."""

    shared_bytes: int
    warps: int = 64
    blocks: int = 32
    registers: int = 65536
    # Registers are allocated in units of 256 per warp; the system reserves 1 KiB of shared memory per block.
    register_unit: int = 256
    reserved_bytes: int = 1024


ARCHITECTURES = {
    "sm_80": Multiprocessor(164 * 1024),
    "sm_90": Multiprocessor(228 * 1024),
    "sm_100": Multiprocessor(228 * 1024),
}


@dataclass(frozen=True)
class Launch:
    """The largest block of a kernel's launches."""

    threads: int
    dynamic_bytes: int


@dataclass(frozen=True)
class Compiled:
    """ptxas's report of a kernel on one architecture."""

    registers: int
    static_bytes: int
    spilled_bytes: int


def find_nvcc() -> str:
    """nvcc in CUDA_HOME, on the PATH or in /usr/local/cuda."""
    places = [Path(os.environ["CUDA_HOME"], "bin", "nvcc")] if os.environ.get("CUDA_HOME") else []
    places += [Path(shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc")]
    for place in places:
        if place.exists():
            return str(place)
    sys.exit(f"{places[0]} does not exist; install a CUDA toolkit or set CUDA_HOME to it")


def compile_kernels(nvcc: str, source: Path, architecture: str) -> dict[str, Compiled]:
    """Compile one file of kernels. Returns its kernels by mangled name."""
    command = [nvcc, "-std=c++20", "-O3", f"-arch={architecture}", "-Xptxas", "-v,-warn-spills,-Werror"]
    command += ["-x", "cu", "-c", "-o", os.devnull, str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(
            f"{source.relative_to(ROOT)} does not compile for {architecture} without spills:\n{done.stderr}"
        )
    kernels = {}
    for part in done.stderr.split("Compiling entry function '")[1:]:
        spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill", part))
        registers = int(re.search(r"Used (\d+) registers", part).group(1))
        shared = re.search(r"(\d+) bytes smem", part)
        kernels[part.partition("'")[0]] = Compiled(registers, int(shared.group(1)) if shared else 0, spills)
    return kernels


def launches(op: str) -> dict[str, Launch]:
    """Run an op's kernels on the host. Returns their largest launches by mangled name."""
    program = ROOT / "build" / "simt" / f"launches-{op}"
    program.parent.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get("CXX", "c++").split()
    source = EMULATOR / "programs" / f"run_{op}.cpp"
    flags = ["-std=c++20", "-O2", "-fno-strict-aliasing", "-pthread", "-rdynamic", "-DEVERY_KERNEL"]
    flags += [f"-I{ROOT / 'csrc'}", f"-I{EMULATOR / 'host'}"]
    subprocess.run([*compiler, *flags, str(source), "-o", str(program), "-ldl"], check=True)
    environment = os.environ | {"SIMT_PRINT_LAUNCHES": "1"}
    done = subprocess.run([str(program)], capture_output=True, text=True, env=environment, check=True)
    largest: dict[str, Launch] = {}
    for name, threads, dynamic in re.findall(r"^launch (\S+) (\d+) (\d+)$", done.stderr, re.MULTILINE):
        old = largest.get(name, Launch(0, 0))
        largest[name] = Launch(max(old.threads, int(threads)), max(old.dynamic_bytes, int(dynamic)))
    return largest


def occupancy(kernel: Compiled, launch: Launch, limits: Multiprocessor) -> float:
    """The share of a multiprocessor's warps that can be resident."""
    warps = -(-launch.threads // 32)
    per_warp = -(-kernel.registers * 32 // limits.register_unit) * limits.register_unit
    by_registers = limits.registers // per_warp // warps
    shared = kernel.static_bytes + launch.dynamic_bytes + limits.reserved_bytes
    blocks = min(by_registers, limits.shared_bytes // shared, limits.blocks, limits.warps // warps)
    return blocks * warps / limits.warps


def readable(mangled: str) -> str:
    """The kernel's name with its template arguments, without namespaces and parameters."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    name = name.removeprefix("void ")
    depth = 0
    for i, letter in enumerate(name):  # parameters begin at the first parenthesis outside <...>
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0 and not name[i:].startswith("(anonymous"):
            name = name[:i]
            break
    return re.sub(
        r"\((?:int|bool|unsigned int|long)\)", "", re.sub(r"(?:\w+|\(anonymous namespace\))::", "", name)
    )


def table(nvcc: str) -> str:
    """The Markdown table over all ops and architectures."""
    sources = sorted(ROOT.glob("csrc/*/*_kernel.cuh"))
    jobs = int(os.environ.get("MAX_JOBS", "2"))
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        compiled = {
            (source, arch): pool.submit(compile_kernels, nvcc, source, arch)
            for source in sources
            for arch in ARCHITECTURES
        }
        launched = {
            source: pool.submit(launches, source.name.removesuffix("_kernel.cuh")) for source in sources
        }
    headers = ["op", "kernel", "threads", "shared bytes"]
    headers += [f"{arch}: {figure}" for arch in ARCHITECTURES for figure in ("registers", "occupancy")]
    lines = [f"| {' | '.join(headers)} |", f"|{' --- |' * len(headers)}"]
    for source in sources:
        kernels = {arch: compiled[source, arch].result() for arch in ARCHITECTURES}
        launches_by_name = launched[source].result()
        for name in sorted(kernels["sm_80"], key=readable):
            if name not in launches_by_name:
                sys.exit(f"{readable(name)} is never launched by the test program of {source.parent.name}")
            launch = launches_by_name[name]
            first = kernels["sm_80"][name]
            cells = [source.parent.name, f"`{readable(name)}`", str(launch.threads)]
            cells.append(f"{first.static_bytes + launch.dynamic_bytes:,}")
            for arch, limits in ARCHITECTURES.items():
                kernel = kernels[arch][name]
                cells += [str(kernel.registers), f"{occupancy(kernel, launch, limits):.0%}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="update docs/kernels.md")
    write = parser.parse_args().write
    nvcc = find_nvcc()
    version = re.search(
        r"release ([\d.]+)", subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    )
    stamp = f"nvcc {version.group(1)}, no spills"
    made = table(nvcc)
    print(f"{stamp}\n\n{made}")
    introduction, _, committed = TABLE.read_text(encoding="utf-8").partition(
        "<!-- made by make cuda-table -->\n"
    )
    text = f"{introduction}<!-- made by make cuda-table -->\n{stamp}\n\n{made}"
    if write:
        TABLE.write_text(text, encoding="utf-8")
    elif (
        committed.startswith(stamp)
        and text != introduction + "<!-- made by make cuda-table -->\n" + committed
    ):
        sys.exit("docs/kernels.md differs from this build: run make cuda-table and check the changes")


if __name__ == "__main__":
    main()
