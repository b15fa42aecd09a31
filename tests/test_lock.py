"""The lock of a suite's folder."""

import fcntl
import threading

import pytest
from arsbench.suite.lock import LOCK, is_locked, locked

from arsbench.errors import UserError


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


def test_a_folder_that_was_taken_away_meanwhile_is_not_held(tmp_path):
    """Of two that begin at once the first finds its suite wrong, and takes the folder and its lock away."""
    other = hold(tmp_path)

    def leave():
        (tmp_path / LOCK).unlink()
        other.close()

    threading.Timer(0.2, leave).start()
    with pytest.raises(UserError, match="another process is at work in"), locked(tmp_path):
        pass
