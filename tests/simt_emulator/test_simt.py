"""The emulator of CUDA kernels: each primitive, and the schedules. See docs/simt.md."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest
import torch

NAN = math.nan


@pytest.fixture(params=["simt", "simt_ucontext"])
def kernels(request, host_kernels):
    """Both kinds of context switch; in order, late copies, one OS thread."""
    kernels = host_kernels(request.param)
    kernels.schedule(0, 0)
    return kernels


def ints(*shape):
    return torch.zeros(shape, dtype=torch.int32)


# ---- Threads, barriers, shared memory


@pytest.mark.parametrize(
    ("grid", "block"), [((1, 1, 1), (1, 1, 1)), ((3, 2, 2), (5, 3, 4)), ((2, 1, 1), (1024, 1, 1))]
)
def test_indices(kernels, schedule, grid, block):
    kernels.schedule(*schedule, threads=2)
    blocks, threads = math.prod(grid), math.prod(block)
    out = ints(blocks, threads, 13)
    kernels("simt_indices", out, *grid, *block)

    def positions(extent):
        x, y, z = extent
        return [(i % x, i // x % y, i // (x * y)) for i in range(x * y * z)]

    expected = [[(*t, *b, *block, *grid, 32) for t in positions(block)] for b in positions(grid)]
    assert torch.equal(out, torch.tensor(expected, dtype=torch.int32))


@pytest.mark.parametrize("threads", [1, 31, 33, 128, 1000, 1024])
def test_barriers_order_shared_memory(kernels, schedule, threads):
    kernels.schedule(*schedule, threads=2)
    x = torch.arange(5 * threads, dtype=torch.int32).view(5, threads)
    out = ints(5)
    kernels("simt_block_sums", x, out, 5, threads)
    assert torch.equal(out, x.sum(1, dtype=torch.int32))


def test_unwritten_shared_memory_is_nan(kernels):
    out = [
        torch.zeros(3, dtype=x)
        for x in (torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.float32)
    ]
    kernels("simt_uninitialised", *out)
    for x in out:
        assert x.isnan().all() if x.is_floating_point() else (x == -1).all()


def test_each_declaration_is_a_separate_array(kernels):
    out = ints(40, 4)
    kernels("simt_arrays", out, 40)
    assert out.tolist() == [[1, 2, 3, 0]] * 40


@pytest.mark.parametrize("kib", [48, 163, 227])
def test_dynamic_shared_memory(kernels, kib):
    out = ints(1)
    kernels("simt_fill_shared", out, kib * 1024)
    assert out.item() == kib * 1024


# ---- Warps


def source_lane(kind, lane, amount, width):
    """The lane that a shuffle reads, according to the CUDA C++ programming guide."""
    first = lane // width * width
    if kind == "idx":
        return first + amount % width
    if kind == "up":
        return lane - amount if lane - amount >= first else lane
    if kind == "down":
        return lane + amount if lane + amount < first + width else lane
    source = lane ^ amount
    return source if source < first + width else lane


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["idx", "up", "down", "xor"])
def test_shuffles(kernels, kind, dtype):
    lanes = torch.arange(32)
    for width in (1, 2, 8, 16, 32):
        for amount in (0, 1, 2, 5, 16, 31):
            out = torch.zeros(32, dtype=dtype)
            number = ["idx", "up", "down", "xor"].index(kind)
            kernels("simt_shuffles", lanes.to(dtype), out, dtype.itemsize, number, amount, width)
            assert out.tolist() == [source_lane(kind, lane, amount, width) for lane in range(32)], (
                amount,
                width,
            )


def test_half_warps_go_their_own_ways(kernels, schedule):
    kernels.schedule(*schedule)
    out = ints(32)
    kernels("simt_half_warps", out)
    assert out.tolist() == [sum(range(16))] * 16 + [20 + 0xAAAA] * 16


@pytest.mark.parametrize("predicate", [0, 1, 0xFFFFFFFF, 0x80000001, 0xDEADBEEF])
def test_votes(kernels, predicate):
    bits = torch.tensor([predicate >> lane & 1 for lane in range(32)], dtype=torch.int32)
    out = ints(32, 3)
    kernels("simt_votes", bits, out)
    assert [x & 0xFFFFFFFF for x in out[:, 0].tolist()] == [predicate] * 32
    assert out[:, 1].tolist() == [int(predicate != 0)] * 32
    assert out[:, 2].tolist() == [int(predicate == 0xFFFFFFFF)] * 32


def test_syncwarp_orders_shared_memory(kernels, schedule):
    kernels.schedule(*schedule)
    out = ints(5, 64)
    kernels("simt_neighbours", out)
    expected = [[100 * i + t // 32 * 32 + (t + 1) % 32 for t in range(64)] for i in range(5)]
    assert out.tolist() == expected


# ---- Atomic operations and functions


@pytest.mark.parametrize("blocks", [6, 500])  # many, so that OS threads contend
def test_atomics(kernels, schedule, blocks):
    kernels.schedule(*schedule, threads=2)
    count = blocks * 100
    integers, counter = ints(9), ints(1)
    integers[4] = 0x7FFFFFFF
    single, real, wide = (
        torch.zeros(1),
        torch.zeros(1, dtype=torch.float64),
        torch.zeros(1, dtype=torch.int64),
    )
    kernels("simt_atomics", integers, counter, single, real, wide, blocks, 100)
    total = count * (count - 1) // 2
    assert integers[:6].tolist() == [total, -total, -7, count - 1, 0, 0x7FFFFFFF]
    assert integers[6] + integers[7] == total
    assert integers[8] == 2 * count
    assert counter.item() == count % 10
    assert (single.item(), real.item(), wide.item()) == (count * 0.5, count * 0.25, count << 33)


def test_last_block_sees_what_all_have_written(kernels, schedule):
    kernels.schedule(*schedule, threads=2)
    partial, arrived, out = ints(70), ints(1), ints(1)
    kernels("simt_last_block", partial, arrived, out, 70)
    assert out.item() == sum(i * i for i in range(70))
    assert arrived.item() == 0


def test_functions(kernels):
    x = torch.cat([torch.rand(60) * 4 + 0.01, torch.tensor([1e-30, 1e4])])
    out = torch.zeros(15, len(x))
    kernels("simt_functions", x, out, len(x))
    y = x.double()
    expected = [y.rsqrt(), y.exp(), y.log(), y.exp2(), y.log2(), y / 3, y * y + 1, 2 - y * y, y, 1 / y]
    expected += [y.sin(), y.cos(), y.clamp(min=2), -y, y]
    torch.testing.assert_close(out, torch.stack(expected).float(), rtol=3e-7, atol=1e-6)


def test_integer_functions(kernels):
    x = torch.tensor([0, 1, 2, 5, 6, 255, 1 << 30, -1, -8], dtype=torch.int32)
    out = ints(6, len(x))
    kernels("simt_integer_functions", x, out, len(x))
    for i, value in enumerate(x.tolist()):
        bits = value & 0xFFFFFFFF
        first = (bits & -bits).bit_length()
        unsigned = max(bits, 5)
        unsigned -= (unsigned >> 31) << 32
        expected = [bits.bit_count(), 32 - bits.bit_length(), first, min(value, 5), max(value, 5), unsigned]
        assert out[:, i].tolist() == expected


def test_bfloat16_rounds_as_torch_does(kernels):
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(1 << 31), 1 << 31, (20_000,), generator=generator, dtype=torch.int64)
    ties = (bits[:2000] & ~0xFFFF) | 0x8000  # halfway between two values
    special = torch.tensor(
        [0, -(1 << 31), 1, 0x7F7FFFFF, 0x7F7F7FFF, 0x7F800000, -0x800000, 0x7F800001, 0x7FFFFFFF]
    )
    x = torch.cat([bits, ties, special, special[:1]]).to(torch.int32).view(torch.float32)
    out, back = torch.zeros(len(x), dtype=torch.bfloat16), torch.zeros(len(x))
    kernels("simt_round_to_bfloat16", x, out, back, len(x))
    nan = x.isnan()
    assert torch.equal(out.view(torch.int16)[~nan], x.bfloat16().view(torch.int16)[~nan])
    assert (out.view(torch.int16)[nan] == 0x7FFF).all()
    assert torch.equal(back[~nan], out[~nan].float())
    assert back[nan].isnan().all()


# ---- Tensor cores and asynchronous copies


@pytest.mark.parametrize("instruction", ["mma", "mma_tf32", "ldmatrix"])
def test_layout_of_fragments(kernels, schedule, instruction):
    kernels.schedule(*schedule)
    mismatches = ints(1)
    kernels(f"simt_{instruction}_layout", mismatches)
    assert mismatches.item() == 0


def test_rounding_to_tf32(kernels):
    largest = torch.finfo(torch.float32).max
    x = torch.tensor(
        [1.0, 1 + 2**-11, 1 + 2**-12, -1 - 2**-11, 2 - 2**-23, largest, math.inf, -math.inf, NAN]
    )
    kernels("simt_round_tf32", x, len(x))
    expected = [1.0, 1 + 2**-10, 1.0, -1 - 2**-10, 2.0, math.inf, math.inf, -math.inf, NAN]
    torch.testing.assert_close(x, torch.tensor(expected), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("when", [0, 1])
def test_asynchronous_copies(kernels, when):
    kernels.schedule(0, when)
    x = torch.arange(1.0, 9.0)
    out = torch.zeros(3, 12)
    kernels("simt_copies", x, out)
    whole = [*range(1, 9), 0, 0, 0, 0]
    late = [[NAN] * 12, [1, 2, 3, 4, *[NAN] * 8], whole]
    expected = torch.tensor([whole] * 3 if when == 1 else late, dtype=torch.float32)
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("stride", "passes"), [(16, 0), (32, 1), (64, 3), (128, 7), (144, 0), (80, 0), (0, 0)]
)
def test_bank_conflicts_are_counted(kernels, stride, passes):
    gained = torch.zeros(3, dtype=torch.int64)
    kernels("simt_statistics", gained, stride)
    barriers, collectives, conflicts = gained.tolist()
    assert (barriers, collectives) == (0, 2)
    assert conflicts == 2 * 4 * passes  # in each of two blocks, four matrices


# ---- Schedules


def turns(kernels, schedule, threads=1, blocks=3, size=96):
    kernels.schedule(*schedule, threads=threads)
    turn = ints(blocks, size)
    kernels("simt_turns", turn, ints(blocks), blocks, size)
    return turn.argsort(1)  # the threads of each block in the order in which they ran


def test_schedules(kernels):
    in_order = torch.arange(96).expand(3, 96)
    assert torch.equal(turns(kernels, (0, 0)), in_order)
    assert torch.equal(turns(kernels, (1, 0)), in_order.flip(1))

    def switches_of_warp(order):
        warps = order // 32
        return (warps[:, 1:] != warps[:, :-1]).sum(1)

    ahead, interleaved = turns(kernels, (3, 0)), turns(kernels, (2, 0))
    assert (switches_of_warp(ahead) == 2).all()
    assert (switches_of_warp(interleaved) > 20).all()
    for order in (ahead, interleaved):
        assert torch.equal(order.sort(1).values, in_order)
        assert not torch.equal(order, in_order)
        assert not torch.equal(order[0], order[1])
    assert not torch.equal(ahead, turns(kernels, (5, 0)))


def test_schedules_repeat_whatever_the_number_of_threads(kernels, schedule):
    first = turns(kernels, schedule)
    assert torch.equal(turns(kernels, schedule), first)
    assert torch.equal(turns(kernels, schedule, threads=2), first)


def test_environment_sets_the_schedule(host_kernels):
    kernels = host_kernels("simt")
    program = """
import ctypes, sys
values = (ctypes.c_int64 * 4)()
ctypes.CDLL(sys.argv[1]).simt_configuration(values)
print(*values)
"""
    chosen = {"SIMT_SEED": "5", "SIMT_THREADS": "3", "SIMT_CP_ASYNC": "2", "SIMT_POISON": "0"}
    for environment, expected in (({}, "0 0 0 1"), (chosen, "5 3 2 0")):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SIMT_")}
        command = [sys.executable, "-c", program, str(kernels.path)]
        done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected
