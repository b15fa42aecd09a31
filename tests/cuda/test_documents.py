"""docs/gpu.md contains the tables that benchmarks.gpu_model prints."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_in_the_document_are_up_to_date():
    command = [sys.executable, "-m", "benchmarks.gpu_model"]
    tables = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert tables in (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
