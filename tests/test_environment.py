"""What is recorded about the machine."""

import platform
import subprocess
import sys

import pytest
import torch

from arsbench import ops
from arsbench.environment import CalledOps, cpu_name, environment, peak_resident_bytes


def test_the_facts_are_there():
    facts = environment(torch.device("cpu"))
    assert facts["torch"] == torch.__version__
    assert facts["gpu"] is None
    assert facts["cpu"] == cpu_name() != ""
    assert facts["products"] == ops.build_info().get("products", "torch")
    assert facts["backends"] == {}


def test_only_ops_that_were_called_have_a_backend():
    ops.newton_schulz(torch.ones(2, 3))
    called = CalledOps(earlier=["rms_norm_backward"])
    assert called.names() == {"rms_norm_backward"}
    ops.ars_dots([torch.ones(3)], [torch.ones(3)])
    assert called.names() == {"rms_norm_backward", "ars_dots"}
    backends = environment(torch.device("cpu"), called.names())["backends"]
    assert backends == {name: ops.backends("cpu")[name] for name in ("ars_moments", "rms_norm")}


def test_peak_memory_is_this_processs_own():
    torch.ones(300_000_000, dtype=torch.uint8)
    assert peak_resident_bytes() > 300_000_000
    child = "from arsbench.environment import peak_resident_bytes; print(peak_resident_bytes())"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert int(done.stdout) < peak_resident_bytes()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the limit that is set")
def test_large_memory_is_given_back():
    script = """
import pytest
import torch
from arsbench.environment import give_back_large_memory

def resident():
    return 4096 * int(open("/proc/self/statm").read().split()[1])

if {called}:
    give_back_large_memory()
torch.ones(7_000_000)  # freed at once: glibc takes it for a sign that such pieces belong on the heap
before = resident()
pieces = [(torch.ones(2_000_000), torch.ones(5_000)) for _ in range(30)]
small = [piece for _, piece in pieces]
del pieces
print((resident() - before) // 2**20)
"""
    left = {}
    for called in (True, False):
        command = [sys.executable, "-c", script.format(called=called)]
        left[called] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert left[True] < 50 < 150 < left[False]  # of 240 MB
