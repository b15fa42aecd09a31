"""The run folder: nothing measured is lost, nothing is overwritten, damage is named."""

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arsbench.errors import UserError
from arsbench.records import RunFolder
from arsbench.run_paths import default_path, latest, reserve

CONFIG = {"zeta": {"b": 1, "a": 2.0}, "alpha": {}}
FILES = ("config.json", "effective.json", "environment.json", "groups.json", "status.json")


def create(path: Path) -> RunFolder:
    return RunFolder.create(
        path, config=CONFIG, effective={"x": 1}, environment={"python": "3"}, groups=[{"name": "matrix"}]
    )


def test_what_is_stored_is_read_back(tmp_path):
    create(tmp_path / "deep" / "run")
    run = RunFolder.open(tmp_path / "deep" / "run")
    assert json.dumps(run.config) == json.dumps(CONFIG)  # the order of the keys too
    assert (run.effective, run.environment, run.groups) == ({"x": 1}, {"python": "3"}, [{"name": "matrix"}])
    assert run.status == {"state": "running", "step": 0, "message": ""}
    assert not run.imported
    assert run.steps() == run.epochs() == []


def test_an_empty_directory_may_be_filled(tmp_path):
    create(tmp_path)
    assert RunFolder.open(tmp_path).config == CONFIG


def test_a_run_is_never_overwritten(tmp_path):
    create(tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(UserError, match="not empty"):
        create(tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_reserved_directory_can_be_filled_once(tmp_path):
    assert reserve(tmp_path / "deep" / "run") == tmp_path / "deep" / "run"
    create(tmp_path / "deep" / "run")
    with pytest.raises(UserError, match="not empty"):
        reserve(tmp_path / "deep" / "run")


def test_a_creator_that_comes_second_by_a_moment_is_refused(tmp_path, monkeypatch):
    run = create(tmp_path / "run")
    run.append_step({"step": 1})
    # What the loser of a race saw: the directory before the winner's first file was in it.
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(()))
    with pytest.raises(UserError, match="not empty"):
        create(tmp_path / "run")
    assert run.steps() == [{"step": 1}]


@pytest.mark.parametrize("below", ["", "run", "deep/run"])
def test_a_path_at_or_below_a_file_cannot_hold_a_run(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=str(tmp_path / "file")):
        create(tmp_path / "file" / below)
    with pytest.raises(UserError, match="cannot write to"):
        reserve(tmp_path / "file" / below)
    with pytest.raises(UserError, match="cannot write to"):
        default_path(tmp_path / "file" / below, "demo")


def test_a_path_that_is_no_run_folder_says_why(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        RunFolder.open(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a directory"):
        RunFolder.open(tmp_path / "file")
    with pytest.raises(UserError, match=r"not a run folder .*config\.json.*epochs\.jsonl"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("name", [*FILES, "steps.jsonl", "epochs.jsonl"])
def test_what_is_missing_is_named(tmp_path, name):
    run = create(tmp_path)
    (run.path / name).unlink()
    with pytest.raises(UserError, match=f"it has no {name}\\)"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe\x00", b'"text"', b"\0" * 64])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_document_is_named(tmp_path, name, content):
    run = create(tmp_path)
    (run.path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} is damaged"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("content", ["{}", '{"state": "lost", "step": 1}', '{"state": "running"}'])
def test_a_status_of_no_known_state_is_damage(tmp_path, content):
    (create(tmp_path).path / "status.json").write_text(content)
    with pytest.raises(UserError, match=r"status\.json is damaged"):
        RunFolder.open(tmp_path)


def test_records_survive_at_once(tmp_path):
    run = create(tmp_path)
    run.append_step({"step": 1, "loss": 2.5})
    run.append_step({"step": 2, "loss": 2.25})
    run.append_epoch({"epoch": 1, "step": 2})
    other = RunFolder.open(tmp_path)
    assert other.steps() == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25}]
    assert other.epochs() == [{"epoch": 1, "step": 2}]


def test_records_wait_for_the_disk(tmp_path, monkeypatch):
    synced = []
    run = create(tmp_path)
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc to tell a descriptor's file")
    run.append_step({"step": 1})
    assert synced == [str(tmp_path / "steps.jsonl")]
    run.append_epoch({"step": 1})
    assert synced == [str(tmp_path / name) for name in ("steps.jsonl", "epochs.jsonl")]


def test_truncate_cuts_both_files_behind_the_step(tmp_path):
    run = create(tmp_path)
    for step in (10, 20, 30):
        run.append_step({"step": step, "loss": math.nan})
        run.append_epoch({"step": step})
    with (run.path / "steps.jsonl").open("ab") as file:
        file.write(b'{"step": 4')
    before = (run.path / "steps.jsonl").read_bytes()
    run.truncate(20)
    assert [record["step"] for record in run.steps()] == [10, 20]
    assert [record["step"] for record in run.epochs()] == [10, 20]
    assert before.startswith((run.path / "steps.jsonl").read_bytes())
    run.truncate(0)
    assert run.steps() == run.epochs() == []


def test_status_is_replaced_and_checked(tmp_path):
    run = create(tmp_path)
    run.set_status("non_finite", 7, "the loss became nan at step 8")
    assert run.status == {"state": "non_finite", "step": 7, "message": "the loss became nan at step 8"}
    with pytest.raises(ValueError, match="state"):
        run.set_status("done", 7)
    assert run.status["step"] == 7


def test_a_run_that_diverged_says_at_which_step(tmp_path):
    run = create(tmp_path)
    run.set_status("finished", 20, diverged_at=7)
    assert RunFolder.open(run.path).status["diverged_at"] == 7
    run.set_status("running", 20)
    assert "diverged_at" not in run.status
    (run.path / "status.json").write_text('{"state": "finished", "step": 20, "diverged_at": "7"}')
    with pytest.raises(UserError, match=r"status\.json is damaged: .* or diverged_at are unknown; restore"):
        RunFolder.open(run.path)


def test_configurations_can_be_replaced(tmp_path):
    run = create(tmp_path)
    run.reconfigure(config={"c": 1}, effective={"e": 2})
    assert (run.config, run.effective) == ({"c": 1}, {"e": 2})


def test_default_paths_count_up_and_are_reserved(tmp_path):
    root = tmp_path / "runs"
    names = [default_path(root, "demo").name for _ in range(3)]
    assert names == ["demo", "demo-2", "demo-3"]
    assert default_path(root, "other").name == "other"
    # After the highest in use, gaps or not, so that the highest is the latest.
    (root / "demo-2").rmdir()
    assert default_path(root, "demo").name == "demo-4"


def test_default_paths_of_several_processes_differ(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: default_path(tmp_path, "demo"), range(16)))
    assert len(set(paths)) == 16


def test_latest_is_the_highest_numbered_run(tmp_path):
    with pytest.raises(UserError, match="no run of 'demo'"):
        latest(tmp_path / "absent", "demo")
    runs = [create(default_path(tmp_path, "demo")).path for _ in range(11)]
    default_path(tmp_path, "demo")  # reserved, but no run has begun there
    create(tmp_path / "demo-1")  # not a name that default_path gives
    create(tmp_path / "demo-extra-99")
    assert latest(tmp_path, "demo") == runs[-1] == tmp_path / "demo-11"
    with pytest.raises(UserError, match="no run of 'dem'"):
        latest(tmp_path, "dem")


@pytest.mark.parametrize("name", ["steps.jsonl", "epochs.jsonl", "evaluations.jsonl"])
def test_a_record_lost_from_a_finished_run_is_noticed(tmp_path, name):
    run = create(tmp_path / "run")
    for append in (run.append_step, run.append_epoch, run.append_evaluation):
        append({"step": 1})
        append({"step": 2})
    run.set_status("finished", 2)
    assert RunFolder.open(run.path).status["records"] == {
        "steps.jsonl": 2,
        "epochs.jsonl": 2,
        "evaluations.jsonl": 2,
    }
    file = run.path / name
    file.write_text(file.read_text()[:-3])  # as a copy that was cut off
    with pytest.raises(UserError, match=rf"{name} is damaged: it has 1 of the 2 records .* restore the file"):
        RunFolder.open(run.path)
    run.set_status("running", 2)  # a run that goes on begins where its files end
    RunFolder.open(run.path)


def test_a_run_that_finishes_while_it_is_opened_is_whole(tmp_path, monkeypatch):
    run = create(tmp_path / "run")
    count = RunFolder._counts

    def counts(opened):
        """What another process does just before, or just after, the records are counted."""
        found = count(opened)
        if opened is not run and len(run.epochs()) == 0:
            run.append_epoch({"step": 1})
            run.set_status("finished", 1)
        return found

    monkeypatch.setattr(RunFolder, "_counts", counts)
    assert RunFolder.open(run.path).status["state"] == "finished"


@pytest.mark.parametrize("records", [None, [], 5, {"steps.jsonl": "x"}])
def test_counts_of_another_shape_are_damage(tmp_path, records):
    run = create(tmp_path / "run")
    status = run.status | {"state": "finished", "records": records}
    (run.path / "status.json").write_text(json.dumps(status))
    with pytest.raises(
        UserError, match=r"status\.json is damaged: its state, step, records or diverged_at are"
    ):
        RunFolder.open(run.path)


def test_it_needs_the_standard_library_alone():
    program = (
        "import sys; before = set(sys.modules); import arsbench.records;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"arsbench"}
