"""The message of a failed launch, and the launch after it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

SOURCE = Path(__file__).parent / "programs" / "simt_failures.h"

# The message for each mistake in that file, and where it is reported: in the thread (1,2,0) that made it, in
# another thread of its warp, or in the block as a whole. HERE is the line marked with the mistake.
THREAD, WARP, BLOCK = r" thread \(1,2,0\)", r" thread \(\d+,[23],0\)", ""
MISTAKES = {
    "two barriers": ("thread (1,2,0) in __syncthreads at HERE", BLOCK),
    "ended before a barrier": (
        "thread (0,0,0) waits in __syncthreads at HERE, thread (1,2,0) has ended",
        BLOCK,
    ),
    "lane never arrives": ("(mask ffffffff, arrived fffffffd, alive ffffffff): __syncwarp at HERE", WARP),
    "lane ended": ("the mask names lanes that have ended or do not exist: __shfl_xor_sync at HERE", WARP),
    "not in its mask": ("the calling lane is not in its mask: __ballot_sync at HERE", THREAD),
    "source not in the mask": ("lane 1 reads lane 7, which is not in the mask: __shfl_sync at HERE", THREAD),
    "width": ("the width 12 is not a power of two up to 32: __shfl_sync at HERE", THREAD),
    "different operations": ("lanes of one mask meet in different operations: ", WARP),
    "different masks": ("__ballot_sync at HERE", WARP),
    "unaligned destination": ("the destination is not aligned to 16 bytes: cp.async at HERE", THREAD),
    "unaligned source": ("the source is not aligned to 16 bytes: cp.async at HERE", THREAD),
    "destination outside": ("the destination is outside shared memory: cp.async at HERE", THREAD),
    "copy not waited for": ("ends without having waited for a copy: cp.async at HERE", THREAD),
    "unaligned row": ("the row is not aligned to 16 bytes: ldmatrix at HERE", THREAD),
    "row outside": ("the row is outside shared memory: ldmatrix.trans at HERE", THREAD),
    "written beside": ("a write outside shared memory, beside few at HERE", BLOCK),
    "too much shared memory": ("more shared memory than a block may have: many at HERE", THREAD),
    "exception": ("thrown by a kernel", THREAD),
    "launch within a kernel": ("launch of a kernel: from within a kernel", THREAD),
    "amid barriers": ("the calling lane is not in its mask: __ballot_sync at HERE", THREAD),
}


@pytest.fixture(params=["simt", "simt_ucontext"])
def kernels(request, host_kernels):
    kernels = host_kernels(request.param)
    kernels.schedule(0, 0)
    return kernels


def fail_with(kernels, mistake):
    name = torch.tensor([*mistake.encode(), 0], dtype=torch.uint8)
    alive = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(RuntimeError) as caught:
        kernels("simt_failure", name, alive)
    assert alive.item() == 0, "the failed launch left objects of the kernel behind"
    return str(caught.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_errors_say_what_and_where(kernels, schedule, mistake):
    kernels.schedule(*schedule)
    said = fail_with(kernels, mistake)
    what, who = MISTAKES[mistake]
    lines = SOURCE.read_text().splitlines()
    here = [i for i, line in enumerate(lines, 1) if line.endswith(f"// {mistake}")]
    if here:
        assert f"{SOURCE.name}:{here[0]}" in said
        what = what.replace("HERE", f"{SOURCE.name}:{here[0]}")
    said = re.sub(r"\S*/(?=simt_failures)", "", said)  # files have paths
    assert what in said
    assert re.search(r"\[block \(1,0,0\)" + who + r"\]$", said), said


@pytest.mark.parametrize("threads", [1, 2])
def test_a_launch_works_after_a_failed_one(kernels, schedule, threads):
    kernels.schedule(*schedule, threads=threads)
    for mistake in MISTAKES:
        fail_with(kernels, mistake)
        sums = torch.zeros(4, dtype=torch.int32)
        kernels("simt_block_sums", torch.ones(4, 70, dtype=torch.int32), sums, 4, 70)
        assert sums.tolist() == [70] * 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, 1, 1025, 1, 0), "more threads than a block may have: (1025,1,1)"),
        ((1, 1, 512, 3, 0), "more threads than a block may have: (512,1,3)"),
        ((1, 1, 1, 65, 0), "more threads than a block may have: (1,1,65)"),
        ((1, 1, 0, 1, 0), "an empty block (0,1,1)"),
        ((0, 1, 32, 1, 0), "an empty grid (0,1,1)"),
        ((1, 65536, 32, 1, 0), "more blocks than a grid may have: (1,65536,1)"),
        ((1, 1, 32, 1, 227 * 1024 + 1), "232449 bytes of dynamic shared memory, above 232448"),
    ],
)
def test_limits_of_a_launch(kernels, arguments, said):
    with pytest.raises(RuntimeError, match=re.escape(said)):
        kernels("simt_launch", *arguments)
    kernels("simt_launch", 2, 3, 512, 2, 227 * 1024)
