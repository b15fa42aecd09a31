"""The command line in this process."""

import sys
from pathlib import Path

import pytest
from arsbench_cli import main as program


@pytest.fixture
def invoke(capsys, monkeypatch, tmp_path):
    """Run the command line in this process; returns its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["arsbench", *arguments])
        try:
            with pytest.raises(SystemExit) as exit_:
                program.main()
        finally:
            _forget_modules_of(tmp_path)
        said = capsys.readouterr()
        return exit_.value.code or 0, said.out, said.err

    return call


def _forget_modules_of(folder: Path) -> None:
    """Let the next call, and the next test, import a user's module of the same name from its own file."""
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]
