"""The run folder: nothing measured is lost, nothing is overwritten, damage is named."""

import errno
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arsbench.errors import UserError
from arsbench.runs.folder import RunFolder
from arsbench.runs.json_files import encode
from arsbench.runs.paths import default_path, is_vacant, latest, reserve

CONFIG = {"zeta": {"b": 1, "a": 2.0}, "alpha": {}}
EFFECTIVE = {"zeta": {"b": 1}}
GROUPS = [{"name": "matrix", "tensors": 2, "parameters": 6, "hyperparameters": {"lr": 0.1}}]
FILES = ("config.json", "effective.json", "environment.json", "groups.json", "status.json")


def create(path: Path) -> RunFolder:
    return RunFolder.create(
        path, config=CONFIG, effective=EFFECTIVE, environment={"python": "3"}, groups=GROUPS
    )


def epoch(number: int, step: int) -> dict:
    return {"epoch": number, "task": "wikitext2_line", "step": step}


def evaluation(step: int) -> dict:
    spent = {"forward_backward_passes": step, "epoch_seconds": 1.5}
    return epoch(1, step) | spent | {"evaluation": {"validation": {"strict": {"loss": math.nan}}}}


def test_what_is_stored_is_read_back(tmp_path):
    create(tmp_path / "deep" / "run")
    run = RunFolder.open(tmp_path / "deep" / "run")
    assert json.dumps(run.config) == json.dumps(CONFIG)  # the order of the keys too
    assert (run.effective, run.environment, run.groups) == (EFFECTIVE, {"python": "3"}, GROUPS)
    assert run.status == {"state": "running", "step": 0, "message": ""}
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


class Stopped(BaseException):
    """Stands for whatever ends a process at once."""


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> list[str]:
    """Let the `number`-th change of a directory fail (0-based); returns what was changed before."""
    done: list[str] = []

    def failing(function):
        def call(*arguments, **options):
            if len(done) == number:
                raise error
            done.append(function.__name__)
            return function(*arguments, **options)

        return call

    for function in (os.replace, os.open, os.chmod):
        monkeypatch.setattr(os, function.__name__, failing(function))
    monkeypatch.setattr(Path, "open", failing(Path.open))
    return done


def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch):
    """Whichever of its writes meets the full disk: the folder is as it was, and a run starts there later."""
    with monkeypatch.context() as patch:
        done = stop_at(patch, -1, OSError())
        create(tmp_path / "counted")
        writes = len(done)
    assert writes > 20
    for number in range(writes - 1):  # after the last the run has started
        with monkeypatch.context() as patch:
            stop_at(patch, number, OSError(errno.ENOSPC, "No space left on device"))
            with pytest.raises(UserError, match="No space left on device"):
                create(tmp_path / "run")
        assert not list((tmp_path / "run").iterdir())
    assert create(tmp_path / "run").status["state"] == "running"


def test_a_start_that_was_killed_is_made_again(tmp_path, monkeypatch):
    """What it leaves is vacant, cannot be resumed, and is no reason to number the next run otherwise."""
    with monkeypatch.context() as patch:
        done = stop_at(patch, -1, Stopped())
        create(tmp_path / "counted")
        writes = len(done)
    for number in range(writes - 1):
        path = tmp_path / f"run-{number}"
        with monkeypatch.context() as patch:
            stop_at(patch, number, Stopped())
            patch.setattr("arsbench.runs.folder.clear", lambda path: None)  # a killed process clears nothing
            patch.setattr(os, "unlink", lambda path: None)
            with pytest.raises(Stopped):
                create(path)
        (path / ".lock").write_text("{}")
        assert is_vacant(path)
        with pytest.raises(UserError, match="is not a run folder"):
            RunFolder.open(path)
        assert create(path).status["state"] == "running"
        assert not is_vacant(path)
        assert {file.name for file in path.iterdir()} == {*FILES, "steps.jsonl", "epochs.jsonl", ".lock"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("steps.jsonl", '{"step": 1}\n'),
        ("epochs.jsonl", '{"epoch'),
        ("checkpoints", None),
        ("tokenizer.json", "{}"),
        ("evaluations.jsonl", ""),
        (".mine.json.12345678", ""),
    ],
)
def test_a_run_that_has_lost_its_status_is_not_overwritten(tmp_path, name, content):
    (create(tmp_path).path / "status.json").unlink()
    assert is_vacant(tmp_path)
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(content)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="not empty"):
        create(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_somebody_elses_files_of_the_same_names_are_left_alone(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(UserError, match="not empty"):
        create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    run = create(tmp_path)
    left = [".status.json.abcd1234", ".steps.jsonl.0123_abc", ".tokenizer.json.zzzzzzzz"]
    others = [".summary.md.abcd1234", ".status.json.bak", ".notes.json.abcd1234"]
    for name in left + others:
        (tmp_path / name).touch()
    run.remove_temporaries()
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set(others)


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
    run.append_epoch(epoch(1, 2))
    other = RunFolder.open(tmp_path)
    assert other.steps() == [{"step": 1, "loss": 2.5}, {"step": 2, "loss": 2.25}]
    assert other.epochs() == [epoch(1, 2)]


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
    run.append_epoch(epoch(1, 1))
    assert synced == [str(tmp_path / name) for name in ("steps.jsonl", "epochs.jsonl")]


def test_truncate_cuts_both_files_behind_the_step(tmp_path):
    run = create(tmp_path)
    for step in (10, 20, 30):
        run.append_step({"step": step, "loss": math.nan})
        run.append_epoch(epoch(step // 10, step))
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
    with pytest.raises(UserError, match=r"status\.json is damaged: diverged_at is '7'; it must be"):
        RunFolder.open(run.path)


def test_configurations_can_be_replaced(tmp_path):
    run = create(tmp_path)
    run.reconfigure(config={"c": 1}, effective={"e": {"f": 2}})
    assert (run.config, run.effective) == ({"c": 1}, {"e": {"f": 2}})


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
    for step in (1, 2):
        run.append_step({"step": step})
        run.append_epoch(epoch(step, step))
        run.append_evaluation(evaluation(step))
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
            run.append_epoch(epoch(1, 1))
            run.set_status("finished", 1)
        return found

    monkeypatch.setattr(RunFolder, "_counts", counts)
    assert RunFolder.open(run.path).status["state"] == "finished"


@pytest.mark.parametrize("records", [None, [], 5, {"steps.jsonl": "x"}])
def test_counts_of_another_shape_are_damage(tmp_path, records):
    run = create(tmp_path / "run")
    status = run.status | {"state": "finished", "records": records}
    (run.path / "status.json").write_text(json.dumps(status))
    with pytest.raises(UserError, match=r"status\.json is damaged: records"):
        RunFolder.open(run.path)


def test_it_needs_the_standard_library_alone():
    program = (
        "import sys; before = set(sys.modules); import arsbench.runs.folder;"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - sys.stdlib_module_names == {"arsbench"}


STEP = {"step": 3, "epoch": 1, "loss": 2.5, "seconds": 0.1, "diagnostics": {"cos_pos_1": 0.5}}
EPOCH = epoch(1, 3) | {"train_loss": 2.5, "epoch_seconds": 1.5, "evaluation": evaluation(3)["evaluation"]}
HUGE = 10**400


@pytest.mark.parametrize(
    ("file", "whole", "change", "words"),
    [
        ("steps.jsonl", STEP, {"step": "3"}, "step is '3'; it must be a whole number from 1"),
        ("steps.jsonl", STEP, {"step": -3}, "step is -3"),
        ("steps.jsonl", STEP, {"step": True}, "step is True"),
        ("steps.jsonl", STEP, {"step": None}, "step is None"),
        ("steps.jsonl", STEP, {"step": ...}, "step is missing"),
        ("steps.jsonl", STEP, {"loss": "low"}, "loss is 'low'; it must be a number"),
        ("steps.jsonl", STEP, {"loss": HUGE}, r"loss is 1000000000\d+…; it must be a number"),
        ("steps.jsonl", STEP, {"loss": [2.5]}, r"loss is \[2\.5\]; it must be a number"),
        ("steps.jsonl", STEP, {"loss_strict": "low"}, "loss_strict is 'low'; it must be a number"),
        ("steps.jsonl", STEP, {"seconds": -1.0}, "seconds is -1.0; it must be a number from 0"),
        ("steps.jsonl", STEP, {"seconds": math.nan}, "seconds is nan"),
        ("steps.jsonl", STEP, {"diagnostics": {"cos_pos_1": "x"}}, "diagnostics.cos_pos_1 is 'x'"),
        ("steps.jsonl", STEP, {"mine": {"deep": [HUGE]}}, r"mine\.deep\[0\] is 1000"),
        ("epochs.jsonl", EPOCH, {"epoch": HUGE}, r"epoch is 1000\d+…"),
        ("epochs.jsonl", EPOCH, {"epoch": 1.5}, "epoch is 1.5"),
        ("epochs.jsonl", EPOCH, {"epoch": ...}, "epoch is missing"),
        ("epochs.jsonl", EPOCH, {"task": ...}, "task is missing"),
        ("epochs.jsonl", EPOCH, {"task": 5}, "task is 5; it must be a text"),
        ("epochs.jsonl", EPOCH, {"train_loss": {"a": 1}}, "train_loss is {'a': 1}"),
        ("epochs.jsonl", EPOCH, {"train_loss_strict": True}, "train_loss_strict is True"),
        ("epochs.jsonl", EPOCH, {"epoch_seconds": math.inf}, "epoch_seconds is inf"),
        ("epochs.jsonl", EPOCH, {"evaluation": 5}, "evaluation is 5; it must be an object"),
        ("epochs.jsonl", EPOCH, {"evaluation": {"v": None}}, "evaluation.v is None"),
        ("epochs.jsonl", EPOCH, {"evaluation": {"v": {"s": {"loss": "x"}}}}, "evaluation.v.s.loss is 'x'"),
        ("epochs.jsonl", EPOCH, {"evaluation": {"v": {"s": {"targets": 1.5}}}}, "evaluation.v.s.targets is"),
        ("evaluations.jsonl", evaluation(3), {"epoch_seconds": ...}, "epoch_seconds is missing"),
        ("evaluations.jsonl", evaluation(3), {"epoch": 0}, "epoch is 0"),
    ],
)
def test_a_damaged_record_is_named_with_its_line(tmp_path, file, whole, change, words):
    run = create(tmp_path)
    key = next(iter(change))
    record = {k: v for k, v in (whole | change).items() if v is not ...}
    first = whole | {"step": 1, "epoch": 1}
    later = record if key in ("step", "epoch") else record | {"step": 4, "epoch": 2}
    (run.path / file).write_text(f"{json.dumps(encode(first))}\n{json.dumps(encode(later))}\n")
    read = {"steps.jsonl": run.steps, "epochs.jsonl": run.epochs, "evaluations.jsonl": run.evaluations}[file]
    with pytest.raises(UserError, match=rf"{file}, line 2, is damaged: {words}.*; restore the file$"):
        read()
    with pytest.raises(UserError, match=rf"{file}, line 2, is damaged"):
        run.truncate(10)


@pytest.mark.parametrize(
    ("file", "records", "words"),
    [
        ("steps.jsonl", [{"step": 2}, {"step": 2}], "step 2 follows step 2"),
        ("epochs.jsonl", [epoch(2, 6), epoch(1, 3)], "epoch 1 follows epoch 2"),
        ("epochs.jsonl", [epoch(1, 3), epoch(1, 3)], "epoch 1 follows epoch 1"),
        ("evaluations.jsonl", [evaluation(4), evaluation(3)], "step 3 follows step 4"),
    ],
)
def test_records_out_of_order_are_damage(tmp_path, file, records, words):
    run = create(tmp_path)
    (run.path / file).write_text("".join(f"{json.dumps(encode(record))}\n" for record in records))
    read = {"steps.jsonl": run.steps, "epochs.jsonl": run.epochs, "evaluations.jsonl": run.evaluations}[file]
    with pytest.raises(UserError, match=rf"{file}, line 2, is damaged: {words}"):
        read()


def test_records_of_several_tasks_come_by_epoch_or_by_task(tmp_path):
    run = create(tmp_path)
    another = epoch(1, 3) | {"task": "another"}
    records = [epoch(1, 3), another, epoch(2, 6), another]
    for record in records:
        run.append_epoch(record)
    assert run.epochs() == records


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("effective.json", {"train": 5}, "train is 5; it must be an object"),
        ("config.json", {"train": {"epochs": HUGE}}, "train.epochs is 1000"),
        ("environment.json", {"backends": "CPU"}, "backends is 'CPU'; it must be an object"),
        ("groups.json", [5], r"\[0\] is 5; it must be an object"),
        ("groups.json", [GROUPS[0] | {"tensors": "two"}], r"\[0\]\.tensors is 'two'"),
        ("groups.json", [{"name": "matrix"}], r"\[0\]\.tensors is missing"),
        ("status.json", {"state": "lost", "step": 1}, "state is 'lost'; it must be one of running"),
        ("status.json", {"state": ["finished"], "step": 1}, r"state is \['finished'\]"),
        ("status.json", {"state": "running", "step": -1}, "step is -1"),
        ("status.json", {"state": "running", "step": 1, "message": 5}, "message is 5; it must be a text"),
    ],
)
def test_a_document_of_another_shape_is_damaged(tmp_path, file, content, words):
    run = create(tmp_path)
    (run.path / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"{file} is damaged: {words}.*; restore the file$"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize(("adaptive_sync", "expected"), [(False, "plain"), (True, "injected")])
def test_a_run_of_version_0_1_0_had_the_published_second_moment(tmp_path, adaptive_sync, expected):
    optimizer = {"name": "ARS", "adaptive_sync": adaptive_sync}
    run = RunFolder.create(
        tmp_path / "run", config={}, effective={"optimizer": optimizer}, environment={}, groups=[]
    )
    assert run.effective == {"optimizer": optimizer | {"second_moment": expected}}
    run.reconfigure(config={}, effective={"optimizer": {"name": "AdamW"}})
    assert run.effective == {"optimizer": {"name": "AdamW"}}
