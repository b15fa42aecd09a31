"""What a terminal of 80 or 120 columns shows: no line is too long, and nothing is cut."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

PROGRAM = "from arsbench_cli.main import main; main()"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def show(tmp_path):
    """Run a command on a terminal of so many columns; returns the lines that it showed."""

    def call(columns, *arguments):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        variables = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=tmp_path,
            env=variables,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        content = b""
        try:
            while block := os.read(ours, 1 << 16):
                content += block
        except OSError:  # the terminal is closed
            pass
        os.close(ours)
        assert process.wait() == 0, content
        return ESCAPES.sub("", content.decode()).replace("\r\n", "\n").replace("\r", "\n").split("\n")

    return call


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", ["presets", "suite presets", "info", "--help", "suite -h", "data -h"])
def test_lists_fit_the_terminal(show, columns, command):
    lines = show(columns, *command.split())
    assert max(map(len, lines)) <= min(columns, 100)
    assert not any("…" in line or line.endswith("...") for line in lines if not line.startswith("Usage"))


def test_descriptions_are_whole_with_a_hanging_indent(show):
    lines = show(80, "presets")
    start = next(number for number, line in enumerate(lines) if line.startswith("seed-mini "))
    assert re.match(r" {14}\S", lines[start + 1])
    assert "on the two small splits of WikiText-2." in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("columns", [80, 120])
def test_training_shows_every_figure(show, columns, write_config, tiny):
    tiny["train"]["epochs"] = 1
    lines = show(columns, "train", write_config(tiny), "--out", "run")
    lines += show(columns, "data", "inspect", "tiny.json")
    assert max(map(len, lines)) <= min(columns, 100)
    assert not any("…" in line for line in lines)
    step = r"training +[^ ]+ +\d+/\d+ +loss \d\.\d{4}  [\d,]+ tokens/s(  \d:\d\d left)?"
    assert any(re.fullmatch(step, line.rstrip()) for line in lines)
    assert any(line.endswith("evaluating on validation ...") for line in map(str.rstrip, lines))
    assert any(line.startswith("| Epoch | Train Loss | Epoch Time (s) | Eval Loss | ") for line in lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_suite_shows_every_figure(show, columns, write_config, modular, tmp_path):
    modular["train"]["epochs"] = 1
    write_config(modular)
    head = 'name = "small"\nconfig = "tiny.json"\nseeds = [1]\n'
    (tmp_path / "suite.toml").write_text(head + '[contenders."ARS with a name that is rather long"]\n')
    lines = show(columns, "suite", "run", "suite.toml")
    lines += show(columns, "suite", "status", "suites/small")
    assert max(map(len, lines)) <= min(columns, 100)
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    assert "1 of 1 done, 0 running, 0 waiting, " in text
    assert "ars-with-a-name-that-is-rather-long-seed-1" in text
