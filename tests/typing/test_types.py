"""The public types, as mypy and basedpyright see them in the other files of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
FILES = sorted(str(path) for path in FOLDER.glob("*.py") if path != Path(__file__))
# Errors inside the package are not reported, as for an installed package.
CHECKERS = {
    "mypy": [
        "--follow-imports=silent",
        "--warn-unused-ignores",
        f"--python-executable={sys.executable}",
        f"--cache-dir={ROOT / 'build' / 'mypy'}",
    ],
    "basedpyright": ["--level", "error", "--pythonpath", sys.executable],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_the_public_types_are_what_callers_expect(checker: str) -> None:
    beside = str(Path(sys.executable).parent)
    command = shutil.which(checker, path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
    if command is None:
        pytest.skip(f"{checker} is not installed; install the dependency group `test`")
    result = subprocess.run([command, *CHECKERS[checker], *FILES], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
