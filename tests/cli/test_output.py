"""What becomes of a command whose output nobody reads, and of errors that the system gives no file for."""

import errno
import io
import os
import subprocess
import sys

import click
import pytest
from arsbench_cli import main as program
from arsbench_cli import output

from arsbench.runs.folder import RunFolder

COMMAND = [sys.executable, "-c", "from arsbench_cli.main import main; main()"]


def read_one_line(arguments, tmp_path, stderr):
    """As `arsbench ... | head -1`; returns the exit code, and what was said on standard error."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    assert process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read() if process.stderr else ""
    return process.wait(timeout=200), error


def test_training_outlives_its_reader(modular, tmp_path, write_config):
    """With standard error beside it or in the same pipe, new and resumed."""
    arguments = ["train", write_config(modular), "--out", "run"]
    shorter = [*arguments, "--set", "train.epochs=2"]
    assert read_one_line(shorter, tmp_path, subprocess.PIPE) == (0, "")
    assert RunFolder.open(tmp_path / "run").status["state"] == "finished"
    assert read_one_line([*arguments, "--resume"], tmp_path, subprocess.STDOUT) == (0, "")
    run = RunFolder.open(tmp_path / "run")
    assert len(run.epochs()) == 4
    assert (run.path / "summary.md").is_file()


@pytest.mark.parametrize("lost", ["closed", "full"])
def test_training_without_standard_output(modular, tmp_path, write_config, lost):
    modular["train"]["epochs"] = 1
    arguments = [*COMMAND, "train", write_config(modular), "--out", "run"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            arguments,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: os.close(1)) if lost == "closed" else None,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert RunFolder.open(tmp_path / "run").status["state"] == "finished"


def test_a_run_that_went_wrong_says_so_by_its_exit_code_alone(modular, tmp_path, write_config):
    modular["optimizer"] = {"name": "torch.optim:SGD", "lr": 1e30}
    code, error = read_one_line(["train", write_config(modular)], tmp_path, subprocess.STDOUT)
    assert (code, error) == (1, "")


def test_a_suite_outlives_its_reader(modular, tmp_path, write_config):
    modular["train"]["epochs"] = 1
    text = f'name = "s"\nconfig = "{write_config(modular)}"\nseeds = [1]\n[contenders.ARS]\n'
    (tmp_path / "suite.toml").write_text(text)
    arguments = ["suite", "run", "suite.toml", "--out", "out", "--workers", "1"]
    assert read_one_line(arguments, tmp_path, subprocess.PIPE) == (0, "")
    assert (tmp_path / "out" / "report.html").is_file()


def test_other_commands_end_quietly(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "presets"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "presets"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "Error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.EIO, "Input/output error"),
            "Error: Input/output error (in arsbench.config.loading.preset_names); check disk and memory",
        ),
        (OSError("unexpected end"), "Error: unexpected end (in arsbench."),
        (OSError(), "Error: OSError (in arsbench."),
        (
            PermissionError(errno.EACCES, "Permission denied", "a/file"),
            "Error: a/file: Permission denied (in arsbench.config.loading.preset_names); check that path",
        ),
    ],
)
def test_an_error_of_the_system_names_the_operation_and_the_file(monkeypatch, capsys, error, words):
    """Such an error has nothing to do with the command's output."""

    class Presets:
        def iterdir(self):
            raise error

    monkeypatch.setattr("arsbench.config.loading.PRESETS", Presets())
    monkeypatch.setattr("sys.argv", ["arsbench", "presets", "demo"])
    with pytest.raises(SystemExit) as exit_:
        program.main()
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(words)


def test_a_stream_in_memory_is_left_as_it_is(monkeypatch):
    streams = [io.StringIO(), io.StringIO()]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    output.guard_output()
    output.drop_lost_output()
    assert [sys.stdout, sys.stderr] == streams
    click.echo("é")
    assert streams[0].getvalue() == "é\n"
