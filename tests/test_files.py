"""Files that a user names: what is no text file is said at once, and nothing waits for a pipe."""

import os
import socket
from pathlib import Path

import pytest

from arsbench.errors import UserError
from arsbench.files import read_regular, read_text, sha256_of


def read(path, **options):
    return read_text(path, "report", "give a report in Markdown", **({"limit": 2**20} | options))


def make(kind: str, folder: Path) -> Path:
    path = folder / "file"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(folder)  # a socket's path may have no more than 107 bytes
            server.bind("file")
    elif kind == "a device":
        return Path("/dev/zero")
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["a named pipe", "a socket", "a device", "a directory"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = make(kind, tmp_path)
    words = f"cannot read the report {path}: it is {kind}, not a regular file; give a report in Markdown"
    with pytest.raises(UserError) as error:
        read(path)
    assert str(error.value) == words
    for function in (read_regular, sha256_of):
        with pytest.raises(OSError, match="not a regular file"):
            function(path)


def test_a_file_that_is_missing_too_large_or_no_text(tmp_path):
    path = tmp_path / "file"
    for missing in (path, f"{path}\0"):
        with pytest.raises(UserError, match=r"cannot read the report .*: No such file or directory; give"):
            read(missing)
        with pytest.raises(UserError, match=r"^no such thing$"):
            read(missing, missing="no such thing")
    with pytest.raises(UserError, match=r"x{300} \.\.\.: File name too long; give"):
        read("x" * 5000)
    path.write_bytes(b"x" * 2**20)
    assert len(read(path)) == 2**20
    path.write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(UserError, match="it is larger than 1 MiB; give"):
        read(path)
    path.write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"it is not UTF-8 text \(byte 2\); give"):
        read(path)


def test_text_comes_without_byte_order_mark_and_carriage_returns(tmp_path):
    path = tmp_path / "file"
    path.write_bytes("\ufeffé\r\nb\rc\n".encode())
    assert read(path) == "é\nb\nc\n"
    path.unlink()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "target").write_text("linked")
    assert read(tmp_path / "link") == "linked"
