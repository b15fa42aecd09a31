"""What is recorded about the machine."""

import subprocess
import sys

import torch

from arsbench.environment import cpu_name, environment, peak_resident_bytes


def test_the_facts_are_there():
    facts = environment(torch.device("cpu"))
    assert facts["torch"] == torch.__version__
    assert facts["gpu"] is None
    assert facts["cpu"] == cpu_name() != ""
    assert set(facts["backends"]) == {
        "newton_schulz",
        "ars_moments",
        "rope_attention",
        "linear_cross_entropy",
    }


def test_peak_memory_is_this_processs_own():
    torch.ones(300_000_000, dtype=torch.uint8)
    assert peak_resident_bytes() > 300_000_000
    child = "from arsbench.environment import peak_resident_bytes; print(peak_resident_bytes())"
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True)
    assert int(done.stdout) < peak_resident_bytes()
