"""The environment of a run: versions, machine, the backend of each op, the commit."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

import torch

import arsbench
from arsbench import ops

_M_MMAP_THRESHOLD = -3  # of <malloc.h>


class CalledOps:
    """The ops called since this object was made: those of one run, if a process has several.

    Args:
        earlier: ops that an earlier process of the run called.
    """

    def __init__(self, earlier: Iterable[str] = ()) -> None:
        self._earlier = frozenset(earlier)
        self._before = ops.calls()

    def names(self) -> frozenset[str]:
        """Their names, as of `arsbench.ops.calls`."""
        return self._earlier | {name for name, n in ops.calls().items() if n > self._before.get(name, 0)}


def environment(device: torch.device, called: Set[str] = frozenset()) -> dict[str, Any]:
    """What every run records beside its figures, as plain JSON types.

    `called` holds the ops that the run has called (`CalledOps.names`), whose backends are listed.
    """
    return {
        "arsbench": arsbench.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "device": str(device),
        "products": ops.build_info().get("products", "torch"),
        "backends": ops.backends(device.type, called),
    }


def cpu_name() -> str:
    """The processor's model name, or the architecture if the system does not report it."""
    return _proc_value("cpuinfo", "model name") or platform.processor() or platform.machine()


def peak_resident_bytes() -> int:
    """Highest resident memory of this process so far."""
    # getrusage would count the parent's peak too: a forked child starts with it, and exec keeps it.
    if high_water := _proc_value("self/status", "VmHWM"):
        return int(high_water.removesuffix("kB")) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


def give_back_large_memory() -> None:
    """Let the C library map allocations of 6 MiB and more separately: freeing them then returns the memory.

    By default glibc raises this threshold to 32 MiB when such allocations are freed. The activations of a
    training step then come from one fragmented heap, and the seed's configuration takes an eighth more memory
    and no less time. The setting holds for the whole process; without glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 6 * 2**20)


def _proc_value(path: str, name: str) -> str | None:
    """The first value of that name in a file of /proc; None where the system does not report it."""
    with contextlib.suppress(OSError):  # not Linux
        for line in Path("/proc", path).read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return None


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout that this process runs from, marked "-dirty" if it has changes."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
