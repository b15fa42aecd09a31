"""What a training process loads before its first step."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("optimizer", ["ARS", "AdamW"])
def test_the_compiler_is_not_imported(modular, write_config, tmp_path, optimizer):
    """It would take more than a second of every start."""
    modular["optimizer"] = {"name": optimizer}
    script = (
        "import sys; from arsbench_cli.main import cli\n"
        f"cli.main(['train', {write_config(modular)!r}, '--out', 'run'], standalone_mode=False)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
