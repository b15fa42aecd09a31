"""The compiled module `arsbench._C`: loaded once, on first import of this file.

Loading it registers the compiled kernels with PyTorch's dispatcher. With `ARSBENCH_NATIVE=0` in the
environment it is not loaded, and every op runs its reference.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from types import ModuleType

import torch


def _load() -> ModuleType | None:
    # Without a compiled module this is a pure-Python install. A compiled module that does not load, after an
    # update of torch for example, is an error that must be visible.
    if os.environ.get("ARSBENCH_NATIVE") == "0" or importlib.util.find_spec("arsbench._C") is None:
        return None
    try:
        return importlib.import_module("arsbench._C")
    except ImportError as error:
        warnings.warn(
            f"arsbench._C cannot be loaded ({error}), and the slower reference ops run instead; "
            "reinstall arsbench with the installed torch",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


_module = _load()


def build_info() -> dict[str, object]:
    """The build of the compiled module and its settings on this machine.

    Returns:
        `{"native": False}` without the compiled module; otherwise the keys native, version, compiler, torch,
        openmp, cuda, cpu_capability (the vector level in use), bf16_products (whether bfloat16 matrices are
        multiplied in bfloat16) and products (what multiplies float32 and bfloat16 matrices).

    Raises:
        RuntimeError: ARSBENCH_CPU, ARSBENCH_BF16_PRODUCTS or ARSBENCH_PRODUCTS has an invalid value.
    """
    if _module is None:
        return {"native": False}
    return {"native": True, **_module.build_info()}


def has_kernel(op: str, device: str) -> bool:
    """Whether the op of this name (without namespace) has a compiled kernel for `device`, "cpu" or "cuda"."""
    # The reference is registered for all devices at once, which these functions do not count.
    name = f"arsbench::{op}"
    return torch._C._dispatch_has_kernel(name) and torch._C._dispatch_has_kernel_for_dispatch_key(
        name, device.upper()
    )


def fallbacks() -> dict[str, str]:
    """The ops whose compiled kernel called the reference in this process, with the reason."""
    return {} if _module is None else _module.fallbacks()
