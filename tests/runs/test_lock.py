"""The lock of a run's or a suite's folder."""

import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from arsbench.errors import UserError
from arsbench.runs.lock import LOCK, claimed, is_locked, locked


def hold(path):
    """The lock, held until the file that this returns is closed."""
    file = (path / LOCK).open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def test_it_is_held_and_given_back(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_a_moments_hold_is_waited_for(tmp_path):
    """As that of `suite status`."""
    other = hold(tmp_path)
    threading.Timer(0.2, other.close).start()
    with locked(tmp_path):
        assert other.closed


def test_a_lock_file_that_was_removed_meanwhile_is_not_held(tmp_path):
    """Of two that begin at once the first finds its suite wrong, and removes the folder's lock."""
    other = hold(tmp_path)

    def leave():
        (tmp_path / LOCK).unlink()
        other.close()

    threading.Timer(0.2, leave).start()
    with locked(tmp_path):
        assert is_locked(tmp_path)  # by the file that is there, not by the one that was removed


def test_the_second_error_names_the_holder(tmp_path):
    with locked(tmp_path):
        words = (
            rf"another process \(pid {os.getpid()} on {re.escape(socket.gethostname())}, since 20\d\d-.*\) is"
        )
        with pytest.raises(UserError, match=words), locked(tmp_path):
            pass
    assert (tmp_path / LOCK).read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_holder_that_does_not_say_its_name(tmp_path, content):
    other = hold(tmp_path)
    (tmp_path / LOCK).write_bytes(content)
    with pytest.raises(UserError, match="another process is writing to"), locked(tmp_path):
        pass
    other.close()


def test_a_dead_holders_lock_is_free_at_once(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from arsbench.runs.lock import locked\n"
        f"with locked(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    assert is_locked(tmp_path)
    with pytest.raises(UserError, match=rf"pid {process.pid} on"), locked(tmp_path):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


def test_without_locks_or_the_right_to_write(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", no_locks)
        with pytest.raises(UserError, match=r"no file locks \(No locks available\).* another file system"):
            locked(tmp_path).__enter__()
        assert not is_locked(tmp_path)
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()  # root may write to a folder without permissions
    with pytest.raises(UserError, match=r"cannot write to .*: Is a directory; choose another folder"):
        locked(tmp_path).__enter__()


def test_what_was_made_goes_if_nothing_begins(tmp_path):
    for made in (True, False):
        (tmp_path / "run").mkdir(exist_ok=True)
        with claimed(tmp_path / "run", "status.json", made=made):
            pass
        assert (tmp_path / "run").exists() is not made
    with claimed(tmp_path / "run", "status.json", made=True):
        (tmp_path / "run" / "status.json").touch()
    assert (tmp_path / "run" / LOCK).exists()
