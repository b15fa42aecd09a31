"""JSON on disk: torn and damaged lines, numbers that JSON has no word for, full disks."""

import json
import math
import os
from pathlib import Path

import pytest

from arsbench.errors import UserError
from arsbench.runs.json_files import JsonLines, read_json, write_json


@pytest.fixture
def lines(tmp_path):
    (tmp_path / "file.jsonl").touch()
    return JsonLines(tmp_path / "file.jsonl")


def append(lines, record):
    lines.append(record)


# Cut the last line after every one of its bytes: a process may be killed at any of them.
@pytest.mark.parametrize("lost", range(1, 24))
def test_a_torn_last_line_is_ignored_and_then_cut(lines, lost):
    append(lines, {"step": 1})
    append(lines, {"step": 2, "text": "é"})
    data = lines.path.read_bytes()
    assert len(data.splitlines(keepends=True)[-1]) >= lost
    lines.path.write_bytes(data[:-lost])
    assert lines.records() == [{"step": 1}]
    append(lines, {"step": 3})
    assert lines.records() == [{"step": 1}, {"step": 3}]


def test_a_torn_line_longer_than_a_block_is_cut(lines):
    append(lines, {"step": 1})
    with lines.path.open("ab") as file:
        file.write(b'{"step": 2, "x": "' + b"y" * 200_000)
    append(lines, {"step": 3})
    assert lines.path.read_bytes() == b'{"step": 1}\n{"step": 3}\n'
    assert lines.records() == [{"step": 1}, {"step": 3}]


def test_a_torn_first_line_leaves_no_record(lines):
    lines.path.write_bytes(b'{"epoch": 1')
    assert lines.records() == []
    append(lines, {"epoch": 1})
    assert lines.records() == [{"epoch": 1}]


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b"", b"\0\0", b'{"a": ' + b"[" * 50_000, b'{"a": 1, "a": 1}', rb'{"a": "\ud800"}']
)
def test_a_damaged_line_in_the_middle_is_named(lines, line):
    lines.path.write_bytes(b'{"epoch": 1}\n' + line + b'\n{"epoch": 3}\n')
    with pytest.raises(UserError, match=r"file\.jsonl, line 2, is damaged"):
        lines.records()


def test_numbers_that_are_not_finite_survive_in_files_that_any_json_reader_takes(lines):
    record = {"step": 1, "loss": math.nan, "inner": {"up": [math.inf, 1.5], "down": -math.inf}, "none": None}
    append(lines, record)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(lines.path.read_text(), parse_constant=refuse)
    (back,) = lines.records()
    assert math.isnan(back.pop("loss"))
    del record["loss"]
    assert back == record


def test_floats_survive_in_full(lines):
    values = [0.1, 4.407930149960873, 5e-324, 1.7976931348623157e308]
    append(lines, {"step": 1, "values": values})
    assert lines.records()[0]["values"] == values


def test_a_failed_truncation_changes_nothing(lines, monkeypatch):
    append(lines, {"step": 1})

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        lines.truncate(0)
    assert lines.records() == [{"step": 1}]
    assert not list(lines.path.parent.glob(".*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(lines):
    lines.path.unlink()
    lines.path.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"file\.jsonl: No space left"):
        append(lines, {"step": 1})


def test_a_document_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "status.json")
    with pytest.raises(
        UserError, match=r"cannot read .*status\.json: it is a named pipe, not a regular file"
    ):
        read_json(tmp_path / "status.json", dict)


def test_documents_keep_what_is_not_finite_too(tmp_path):
    write_json(tmp_path / "groups.json", [{"max_norm": math.inf, "betas": (0.9, 0.999)}])
    assert read_json(tmp_path / "groups.json", list) == [{"max_norm": math.inf, "betas": [0.9, 0.999]}]
    with pytest.raises(UserError, match=r"groups\.json is damaged: it is JSON but not an object"):
        read_json(tmp_path / "groups.json", dict)
