"""A run's folder belongs to one process at a time, and holds a whole run or none."""

import fcntl
import json
import signal
import subprocess
import sys
import time

import pytest

from arsbench import training
from arsbench.config import config_from_dict
from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder
from arsbench.runs.lock import LOCK, is_locked, locked

from .test_resume import COMMAND, Watcher, assert_same, lines, train


def held(given, path, **options):
    return training.held_run(path, config_from_dict(given), Watcher(), **options)


def test_the_lock_is_held_from_the_start_to_the_end(modular, tmp_path):
    path = tmp_path / "run"
    for resume in (False, True):
        with held(modular, path, resume=resume) as (run, trainer):
            assert is_locked(path)
            for again in (False, True):  # a run that has started is refused, or else its holder named
                with pytest.raises(UserError, match=r"pid \d+ on" if again else "not empty"):
                    held(modular, path, resume=again).__enter__()
            if resume:
                trainer.run(run)
        assert not is_locked(path)
    assert RunFolder.open(path).status["state"] == "finished"


def test_a_start_that_another_process_is_at_is_left_to_it(modular, tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "steps.jsonl").touch()  # it has just begun to write
    with locked(path):
        for resume in (False, True):
            with pytest.raises(UserError, match="is writing to"):
                held(modular, path, resume=resume).__enter__()
    assert (path / "steps.jsonl").exists()


def test_a_run_that_ended_before_the_lock_was_had_is_not_overwritten(modular, tmp_path, monkeypatch):
    path = tmp_path / "run"
    path.mkdir()
    flock = fcntl.flock

    def overtaken(*arguments):
        monkeypatch.setattr(fcntl, "flock", flock)
        train(modular, path)
        return flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with pytest.raises(UserError, match="not empty"):
        held(modular, path, resume=False).__enter__()
    assert RunFolder.open(path).status["state"] == "finished"


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("there", [True, False])
def test_a_start_that_is_refused_leaves_no_folder_that_it_made(modular, tmp_path, there, resume):
    modular["optimizer"] = {"name": "torch.optim:NoSuch"}
    path = tmp_path / "deep" / "run"
    if there:
        path.mkdir(parents=True)
    with pytest.raises(UserError, match="NoSuch"):
        held(modular, path, resume=resume).__enter__()
    assert path.exists() is there
    assert not there or not list(path.iterdir())


def test_no_lock_file_is_made_in_other_peoples_folders(modular, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    (tmp_path / LOCK).write_text("theirs")
    for resume in (False, True):
        with pytest.raises(UserError, match="is not a run folder" if resume else "not empty"):
            held(modular, tmp_path, resume=resume).__enter__()
    assert (tmp_path / LOCK).read_text() == "theirs"


def test_leftovers_of_kills_are_removed_and_the_rest_is_resumed(modular, tmp_path):
    path = tmp_path / "run"
    undisturbed = train(modular, tmp_path / "undisturbed")
    train(modular, path)
    newest = max((path / "checkpoints").glob("step-*")).name
    left = [path / ".status.json.abcd1234"]
    for name in (f".replaced-{newest}", f".writing-{newest}", ".writing-step-00000099"):
        left.append(path / "checkpoints" / name)
        left[-1].mkdir()
        (left[-1] / "state.pt").touch()
    left[0].touch()
    with held(modular, path, resume=True) as (run, trainer):
        assert not any(path.exists() for path in left)
        trainer.run(run)
    assert_same(run, undisturbed)


def test_two_processes_that_resume_one_run(modular, tmp_path, write_config):
    """The second is told who holds the run and exits with 2; the first computes what it would have alone."""
    modular["train"] |= {"epochs": 30, "ckpt_every_steps": 50}
    undisturbed = train(modular, tmp_path / "undisturbed")
    with held(modular, tmp_path / "run", resume=False):
        pass
    arguments = [*COMMAND, write_config(modular), "--out", str(tmp_path / "run"), "--resume"]
    # The first dawdles until the second has been refused.
    marker = tmp_path / "refused"
    slowly = (
        "import pathlib, time; from arsbench.training.trainer import Trainer; step = Trainer._train_step\n"
        f"marker = pathlib.Path({str(marker)!r})\n"
        "def dawdle(*arguments):\n"
        "    while not marker.exists() and arguments[0].step: time.sleep(0.05)\n"
        "    return step(*arguments)\n"
        "Trainer._train_step = dawdle\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", slowly + COMMAND[2], *arguments[3:]], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        while lines(tmp_path / "run" / "steps.jsonl") < 1:
            assert first.poll() is None
            time.sleep(0.01)
        second = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    finally:
        marker.touch()
    assert second.returncode == 2
    assert f"another process (pid {first.pid} on " in second.stderr
    assert second.stderr.startswith("Error: ")
    assert "Traceback" not in second.stderr
    assert first.wait(timeout=100) == 0
    assert_same(RunFolder.open(tmp_path / "run"), undisturbed)


def test_an_empty_or_half_made_folder_is_started_anew(modular, tmp_path, write_config):
    """By `--out` alone and with `--resume`, which still refuses a folder that is not there."""
    modular["train"]["epochs"] = 1
    config = write_config(modular)

    def call(*options):
        arguments = [*COMMAND, config, "--out", "run", *options]
        return subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=100)

    done = call("--resume")
    assert done.returncode == 2
    assert "run does not exist" in done.stderr
    for options in ([], ["--resume"]):
        path = tmp_path / "run"
        path.mkdir()
        (path / "steps.jsonl").touch()
        (path / "config.json").write_text("{")
        (path / ".effective.json.abcdefgh").write_text("{")
        done = call(*options)
        assert done.returncode == 0, done.stderr
        assert RunFolder.open(path).status["state"] == "finished"
        assert json.loads((path / "config.json").read_text()) == modular
        path.rename(tmp_path / f"run{len(options)}")


@pytest.mark.slow
def test_sigkill_while_the_folder_is_made(modular, tmp_path, write_config):
    """After whichever of its writes: the next start, or `--resume`, finds a whole run or none."""
    modular["train"]["epochs"] = 1
    undisturbed = train(modular, tmp_path / "undisturbed")
    script = (
        "import os, sys, signal; number = int(sys.argv.pop(1)); replace = os.replace; done = []\n"
        "def killing(*a, **k):\n"
        "    if len(done) == number: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    done.append(a); return replace(*a, **k)\n"
        "os.replace = killing\n" + COMMAND[2]
    )
    arguments = ["train", write_config(modular), "--out", "run"]
    for number in (0, 2, 5):  # before epochs.jsonl, effective.json, status.json
        killed = subprocess.run([sys.executable, "-c", script, str(number), *arguments], cwd=tmp_path)
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "run" / "status.json").exists()
    done = subprocess.run([*COMMAND, *arguments[1:]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_same(RunFolder.open(tmp_path / "run"), undisturbed)
