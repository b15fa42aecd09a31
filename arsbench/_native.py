"""The compiled module `arsbench._C`: loaded once, on first import of this file.

Loading it registers the compiled kernels with PyTorch's dispatcher. `ARSBENCH_NATIVE=0` in the environment
keeps it from being loaded, and every op then runs its reference.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from types import ModuleType

import torch


def _load() -> ModuleType | None:
    # A module that was never built is an ordinary pure-Python install; one that was built and does not load
    # (another torch than at build time, say) is a fault that must not pass silently.
    if os.environ.get("ARSBENCH_NATIVE") == "0" or importlib.util.find_spec("arsbench._C") is None:
        return None
    try:
        return importlib.import_module("arsbench._C")
    except ImportError as error:
        warnings.warn(
            f"arsbench._C cannot be loaded ({error}): the slower reference ops run instead; "
            "reinstall arsbench with the torch that is installed now",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


_module = _load()


def build_info() -> dict[str, object]:
    """What was compiled and how it runs here; `{"native": False}` without the compiled module.

    Returns:
        a dictionary with the keys native, version, compiler, torch, openmp, cuda, cpu_capability (the
        vector level in force) and bf16_products (whether bfloat16 matrices are multiplied as such).

    Raises:
        RuntimeError: ARSBENCH_CPU or ARSBENCH_BF16_PRODUCTS has a value that is not known.
    """
    if _module is None:
        return {"native": False}
    return {"native": True, **_module.build_info()}


def has_kernel(op: str, device: str) -> bool:
    """Whether the op of this name (without namespace) has a compiled kernel for `device`, "cpu" or "cuda"."""
    # The alias under which references are registered does not count here: only a kernel of its own does.
    name = f"arsbench::{op}"
    known = torch._C._dispatch_has_kernel(name)
    return known and torch._C._dispatch_has_kernel_for_dispatch_key(name, device.upper())


def fallbacks() -> dict[str, str]:
    """The ops whose compiled kernel has handed a call to the reference in this process, and for what."""
    return {} if _module is None else _module.fallbacks()
