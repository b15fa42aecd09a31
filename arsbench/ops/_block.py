"""Many tensors in one block of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Bytes: a cache line, and a multiple of every element's size.
_ALIGNMENT = 64


def empty_block(like: Sequence[Tensor], dtype_of: Callable[[torch.dtype], torch.dtype]) -> list[Tensor]:
    """Uninitialised contiguous tensors with the shapes and the device of `like`, in one block of memory.

    A large block returns to the system when it is freed. Many small ones between others leave holes: a
    training step of the preset `seed` needs a third more memory with them.

    Args:
        like: tensors on one device.
        dtype_of: the new tensor's dtype from that of the tensor in `like`.
    """
    if not like:
        return []
    dtypes = [dtype_of(x.dtype) for x in like]
    sizes = [x.numel() * dtype.itemsize for x, dtype in zip(like, dtypes, strict=True)]
    places = [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]
    block = torch.empty(sum(places), dtype=torch.uint8, device=like[0].device)
    return [
        part[:size].view(dtype).view(x.shape)
        for part, size, dtype, x in zip(block.split(places), sizes, dtypes, like, strict=True)
    ]
