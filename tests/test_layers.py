"""Who may import whom: the contracts of pyproject.toml, and what they cannot express."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_import_contracts_are_kept():
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("module", ["arsbench", "arsbench.config", "arsbench.runs.folder"])
def test_standard_library_only(module):
    script = (
        "import sys; before = set(sys.modules)\n"
        f"import {module}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "foreign = new - set(sys.stdlib_module_names) - {'arsbench'}\n"
        "sys.exit(f'imported {foreign}' if foreign else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module", ["arsbench.report", "arsbench.pages.html", "arsbench.data", "arsbench_cli.main"]
)
def test_torch_stays_out(module):
    script = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == 0


def test_benchmarks_never_import_tests():
    for file in (ROOT / "benchmarks").glob("*.py"):
        assert not re.search(r"^\s*(from|import) tests", file.read_text(encoding="utf-8"), re.MULTILINE), file
