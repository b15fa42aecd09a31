"""Planted defects: its detector must report each of them, and correct kernels must pass every detector."""

from __future__ import annotations

import re

import pytest
import torch

IN_ORDER = [(0, 0), (0, 1)]
REVERSED = [(1, 0), (1, 1)]
LATE = [(0, 0), (1, 0)]
EARLY = [(0, 1), (1, 1)]
AHEAD = [(3, 2), (5, 2)]
INTERLEAVED = (2, 2)

# The emulator's error messages, under every schedule.
REFUSED = {
    "unaligned_copy": "the destination is not aligned to 16 bytes: cp.async at",
    "unaligned_row": "the row is not aligned to 16 bytes: ldmatrix at",
    "read_past_tile": "the row is outside shared memory: ldmatrix at",
    "wrong_mask": "not in (its|the) mask: __shfl_xor_sync at",
    "missing_lane": "waits for lanes that never come .*: __shfl_xor_sync at",
    "divergent_barrier": "divergent barrier: .* waits in __syncthreads at",
    "shared_overrun": "a write outside shared memory, beside partial at",
    "undersized_shared": "a write outside shared memory, beside dynamic shared memory",
}

# Defects that change only the result, with the schedules that reveal them. No schedule reveals all: therefore
# every kernel runs with late and with early copies, and with more than random interleaving.
SPOILED = {
    "missing_barrier_after_copy": {*LATE, *EARLY, *AHEAD, INTERLEAVED},
    "missing_barrier_before_copy": {*EARLY, *AHEAD},
    "missing_wait": {*LATE, *AHEAD, INTERLEAVED},
    "unsynchronised_reduction": {*IN_ORDER, *AHEAD, INTERLEAVED},
    "missing_barrier_before_reuse": {*REVERSED, *AHEAD},
    "missing_syncwarp": {*LATE, *EARLY, *AHEAD, INTERLEAVED},
    "shared_overread": {*LATE, *EARLY, *AHEAD, INTERLEAVED},
    "non_atomic_sum": set(),
    "missing_fence": set(),
}

OUT_OF_BOUNDS = {
    "shared_overrun": ("use-after-poison", "WRITE"),
    "shared_overread": ("use-after-poison", "READ"),
    "undersized_shared": ("use-after-poison", "WRITE"),
    "global_overrun": ("heap-buffer-overflow", "WRITE"),
}

RACES = [
    "missing_barrier_after_copy",
    "missing_barrier_before_copy",
    "unsynchronised_reduction",
    "missing_barrier_before_reuse",
    "missing_syncwarp",
    "non_atomic_sum",
    "missing_fence",
]


@pytest.fixture
def run(host_kernels):
    """`run("missing_wait", (0, 1))`: the error message, or None."""
    kernels = host_kernels("defects")

    def run(defect, schedule, threads=1):
        kernels.schedule(*schedule, threads=threads)
        try:
            kernels("run_defect", torch.tensor([*defect.encode(), 0], dtype=torch.uint8))
        except RuntimeError as error:
            return str(error)
        return None

    return run


@pytest.fixture
def program(run_under):
    """`program("thread", "missing_wait", (0, 1))`: the finished process, on two OS threads."""

    def program(sanitizer, defect, schedule):
        seed, cp_async = map(str, schedule)
        environment = {"SIMT_SEED": seed, "SIMT_CP_ASYNC": cp_async, "SIMT_THREADS": "2"}
        return run_under(sanitizer, "defects", DEFECT=defect, **environment)

    return program


@pytest.mark.parametrize("threads", [1, 2])
def test_sound_kernels_pass(run, schedule, threads):
    assert run("none", schedule, threads) is None


@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_sound_kernels_pass_under_sanitizers(program, sanitizer, schedule):
    done = program(sanitizer, "none", schedule)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("defect", REFUSED)
def test_refused(run, schedule, defect):
    said = run(defect, schedule)
    assert said is not None
    assert re.search(REFUSED[defect], said), said
    assert "simt_defects.h:" in said or defect == "undersized_shared"
    assert re.search(r"\[block \(\d,0,0\)", said)


@pytest.mark.parametrize("defect", SPOILED)
def test_results_are_spoiled(run, schedule, defect):
    said = run(defect, schedule)
    if schedule in SPOILED[defect]:
        assert said is not None
        assert said.startswith("wrong result")
    else:
        assert said is None, "this schedule reveals more than docs/simt.md says"


@pytest.mark.parametrize("defect", OUT_OF_BOUNDS)
def test_address_sanitizer_sees_what_is_out_of_bounds(program, defect):
    done = program("address", defect, (0, 0))
    kind, access = OUT_OF_BOUNDS[defect]
    assert done.returncode == 1
    assert f"AddressSanitizer: {kind}" in done.stderr
    assert f"{access} of size 4" in done.stderr
    assert "simt_defects.h:" in done.stderr


@pytest.mark.parametrize("defect", RACES)
def test_thread_sanitizer_sees_races(program, defect):
    done = program("thread", defect, (0, 1))
    assert done.returncode == 66
    assert "ThreadSanitizer: data race" in done.stderr
    assert "simt_defects.h:" in done.stderr


@pytest.mark.parametrize("defect", ["wrong_mask", "missing_lane", "divergent_barrier", "unaligned_row"])
@pytest.mark.parametrize("sanitizer", ["address", "thread"])
def test_sanitizers_have_nothing_to_say_of_a_failed_launch(program, sanitizer, defect):
    done = program(sanitizer, defect, (0, 0))
    assert done.returncode == 1
    assert "Sanitizer" not in done.stderr
    assert re.search(REFUSED[defect], done.stderr)
