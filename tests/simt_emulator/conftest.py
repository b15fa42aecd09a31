"""CUDA kernels compiled for the host and called on the memory of CPU tensors."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
BUILD = ROOT / "build" / "simt"
INCLUDES = [f"-I{ROOT / 'csrc'}", f"-I{Path(__file__).parent / 'host'}"]
FLAGS = ["-std=c++20", "-Wall", "-Wno-unknown-pragmas", "-fno-strict-aliasing", "-pthread", *INCLUDES]
if sys.platform == "darwin":
    FLAGS += ["-D_XOPEN_SOURCE=700", "-D_DARWIN_C_SOURCE"]  # its headers hide ucontext otherwise

# (seed, cp_async): in order and reversed, each with late and early copies; two that starve a warp; one random
# interleaving. See docs/simt.md.
SCHEDULES = [(0, 0), (0, 1), (1, 0), (1, 1), (3, 2), (5, 2), (2, 2)]


class HostKernels:
    """The entry points of one of programs/*_api.cpp."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))

    def schedule(self, seed: int, cp_async: int, threads: int = 1) -> None:
        """Set the order of threads, the time of copies and the OS threads of the following calls."""
        self("simt_schedule", seed, cp_async, threads)

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call an entry point. Tensors and lists of tensors are passed as addresses, None as a null pointer.

        Raises:
            RuntimeError: the kernel, or its launch, failed.
        """
        function = getattr(self._library, name)
        function.restype = ctypes.c_char_p
        error = function(*(_c(x) for x in arguments))
        if error is not None:
            raise RuntimeError(error.decode())


def _c(value: Any) -> Any:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, list | tuple):
        return (ctypes.c_void_p * max(1, len(value)))(*(x.data_ptr() for x in value))
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)


def build(source: Path, name: str, *flags: str) -> Path:
    """Compile a program unless it is newer than all its sources."""
    compiler = os.environ.get("CXX", "c++").split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(f"no C++ compiler ({compiler}); install one or set CXX")
    output, rules = BUILD / name, BUILD / f"{name}.d"
    if output.exists() and rules.exists():
        depends = rules.read_text().partition(":")[2].replace("\\\n", " ").split()
        newest = max((Path(x).stat().st_mtime for x in depends if Path(x).exists()), default=float("inf"))
        if newest < output.stat().st_mtime:
            return output
    BUILD.mkdir(parents=True, exist_ok=True)
    partial = BUILD / f"{name}.{os.getpid()}"
    command = [compiler, *FLAGS, *flags, "-MMD", "-MF", str(rules), str(source), "-o", str(partial)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    partial.replace(output)
    return output


@pytest.fixture(scope="session")
def host_kernels():
    """`host_kernels("newton_schulz")`: the entry points of newton_schulz_api.cpp."""

    def load(op: str) -> HostKernels:
        path = build(PROGRAMS / f"{op}_api.cpp", f"{op}.so", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
        return HostKernels(path)

    return load


@pytest.fixture(scope="session")
def run_under():
    """`run_under("thread", "run_newton_schulz")`: build a program with a sanitizer and run it."""

    def run(sanitizer: str, program: str, *defines: str, **environment: str) -> subprocess.CompletedProcess:
        name = "-".join((program, sanitizer, *(x.lower() for x in defines)))
        flags = ["-O1", "-g1", f"-fsanitize={sanitizer}", *(f"-D{x}" for x in defines)]
        path = build(PROGRAMS / f"{program}.cpp", name, *flags)
        options = {"ASAN_OPTIONS": "detect_leaks=0", **environment}
        return subprocess.run([str(path)], capture_output=True, text=True, env=os.environ | options)

    return run


@pytest.fixture(params=SCHEDULES, ids=lambda s: f"order{s[0]}-copies{s[1]}")
def schedule(request):
    """One of the schedules that every kernel is run under."""
    return request.param
