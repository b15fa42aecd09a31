"""The document about GPUs says what the arithmetic says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_of_what_to_expect_are_the_models():
    command = [sys.executable, "-m", "benchmarks.gpu_model"]
    tables = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tables in (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
