"""An export replaces nothing but an earlier export, and appears whole or not at all."""

import errno
import json
import os

import pytest

from arsbench.errors import UserError
from arsbench.models.export_folder import MANIFEST, STAGE, export_folder

NAMES = ("weights", "config.json")


def export(directory, text, names=NAMES):
    with export_folder(directory, names) as folder:
        for name in names:
            (folder / name).write_text(f"{text} {name}")


def content(directory):
    return {path.name: path.read_text() for path in directory.iterdir() if path.name != MANIFEST}


def written(text):
    return {name: f"{text} {name}" for name in NAMES}


def test_a_new_an_empty_and_an_exports_folder_are_written(tmp_path):
    (tmp_path / "empty").mkdir()
    for directory in (tmp_path / "deep" / "new", tmp_path / "empty"):
        for text in ("first", "second", "second"):
            export(directory, text)
            assert content(directory) == written(text)


def test_an_export_that_was_added_to_is_replaced_and_keeps_what_was_added(tmp_path):
    export(tmp_path, "first")
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "config.json").unlink()
    export(tmp_path, "second")
    assert content(tmp_path) == written("second") | {"README.md": "mine"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_changed_since_is_refused(tmp_path, name):
    """As that of a model that was tuned further and saved in the same place."""
    export(tmp_path, "first")
    (tmp_path / name).write_text("tuned")
    with pytest.raises(UserError, match=f"{name} has changed since it was exported"):
        export(tmp_path, "second")
    assert content(tmp_path) == written("first") | {name: "tuned"}


def test_a_file_that_no_export_wrote_is_refused(tmp_path):
    export(tmp_path, "first", ("config.json",))
    (tmp_path / "weights").write_text("mine")
    with pytest.raises(UserError, match="weights has changed"):
        export(tmp_path, "second")
    assert (tmp_path / "weights").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.txt", "kept"),
        ("config.json", '{"model_type": "qwen3"}'),
        (MANIFEST, "{"),
        (MANIFEST, "[]"),
        (MANIFEST, '{"sha256": {}}'),
        (MANIFEST, '{"format": "another", "sha256": {"weights": ""}}'),
        (MANIFEST, '{"format": "arsbench export 1", "sha256": [1]}'),
        (MANIFEST, "[" * 100_000),
    ],
)
def test_other_folders_are_refused_and_left_alone(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"is not empty and is not an export .* choose another folder"):
        export(tmp_path, "first")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]


def test_a_full_disk_leaves_what_was_there(tmp_path):
    export(tmp_path / "old", "first")

    def fill_the_disk(directory):
        with export_folder(directory, NAMES) as folder:
            (folder / "weights").write_text("second")
            raise OSError(errno.ENOSPC, "No space left on device")

    for directory in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(UserError, match="No space left on device"):
            fill_the_disk(directory)
    assert content(tmp_path / "old") == written("first")
    assert not (tmp_path / "new").exists()


class Killed(BaseException):
    """Stands for a process that dies."""


@pytest.mark.parametrize("before", [None, "first"])
@pytest.mark.parametrize("number", range(5))
def test_a_kill_leaves_the_old_one_or_none_that_loads_and_can_be_repeated(
    tmp_path, monkeypatch, before, number
):
    if before:
        export(tmp_path, before)
    calls = []

    def killing(function):
        def call(*arguments, **options):
            if len(calls) == number:
                raise Killed
            calls.append(function)
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killing(os.replace))
        patch.setattr("arsbench.models.export_folder.shutil.rmtree", killing(lambda *a, **k: None))
        with pytest.raises(Killed):
            export(tmp_path, "second")
    files = content_of_files(tmp_path)
    if "config.json" in files:  # what is there to be loaded is of one export
        assert {text.split()[0] for text in files.values()} in ({"first"}, {"second"})
    export(tmp_path, "third")
    assert content(tmp_path) == written("third")
    assert not (tmp_path / STAGE).exists()
    assert json.loads((tmp_path / MANIFEST).read_text())["format"]


def content_of_files(directory):
    return {name: (directory / name).read_text() for name in NAMES if (directory / name).exists()}
