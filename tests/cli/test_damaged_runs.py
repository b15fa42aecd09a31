"""Run folders that somebody has damaged or made up: one sentence that names the file, exit code 2."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from arsbench_cli import main as program
from safetensors.torch import load_file, save_file

from arsbench.analysis import load
from arsbench.errors import UserError
from arsbench.files import sha256_of
from arsbench.pages.exchange import write_csv
from arsbench.pages.html import write_page
from arsbench.runs.folder import RunFolder
from arsbench.training import sample_run

TEXT = {
    "experiment": {"tasks": ["wikitext2_line (tiny)"], "seed": 7, "device": "cpu"},
    "model": {
        "vocabulary_size": 400,
        "embedding_size": 16,
        "sequence_length": 31,
        "num_heads": 2,
        "num_layers": 1,
        "intermediate_size": 24,
        "head_dim": 8,
    },
    "data": {"batch_size": 8, "source": "files"},
    "optimizer": {"name": "ARS", "lr": 0.002, "k": 3},
    "train": {"epochs": 2, "log_every": 1, "max_steps": 6, "eval_every_steps": 2, "keep_checkpoints": 1},
}
READING = {
    "report": ("report", "run"),
    "html": ("report", "run", "--html"),
    "csv": ("report", "run", "--csv", "out.csv"),
    "json": ("report", "run", "--json"),
    "tensorboard": ("report", "run", "--tensorboard", "events"),
    "compare": ("compare", "run", "run-2"),
    "eval": ("eval", "run"),
    "sample": ("sample", "run", "--prompt", "The"),
    "export": ("export", "run", "--to", "hf", "exported"),
    "resume": ("train", "text.json", "--out", "run", "--resume"),
}
OF_WEIGHTS = ("eval", "sample", "export", "resume")


@pytest.fixture(scope="module")
def home(texts, tmp_path_factory):
    """A folder with a run of a few steps, and its configuration."""
    home = tmp_path_factory.mktemp("home")
    TEXT["data"] |= {"path": str(texts), "tokenizer_path": str(home / "tokenizer.json")}
    (home / "text.json").write_text(json.dumps(TEXT))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("sys.argv", ["arsbench", "train", "text.json", "--out", "run"])
        with pytest.raises(SystemExit) as exit_:
            program.main()
        assert not exit_.value.code
    return home


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    """A copy of that run to damage; commands are called beside it."""
    for name in ("run", "run-2"):
        shutil.copytree(home / "run", tmp_path / name)
    shutil.copy(home / "text.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.fixture
def refused(capfd, monkeypatch):
    """Call a command that must say one sentence with these words, and change nothing in the run's folder."""

    def call(words, *arguments):
        before = contents(Path("run"))
        monkeypatch.setattr("sys.argv", ["arsbench", *arguments])
        with pytest.raises(SystemExit) as exit_:
            program.main()
        error = capfd.readouterr().err
        assert exit_.value.code == 2, (arguments, error)
        assert words in error, arguments
        (last,) = (line for line in error.splitlines() if not line.startswith("Warning: "))
        assert last.startswith("Error: "), error
        assert contents(Path("run")) == before

    return call


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(path, change):
    """Replace a document, or the last line of a file of records, by what `change` makes of it."""
    *lines, last = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    path.write_text("\n".join([*lines, json.dumps(change(json.loads(last)))]) + "\n")


@pytest.mark.parametrize("command", [name for name in READING if name not in ("eval", "sample", "export")])
@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("epochs.jsonl", "train_loss", "low"),
        ("epochs.jsonl", "epoch", 10**400),
        ("steps.jsonl", "step", "6"),
        ("evaluations.jsonl", "epoch_seconds", -1),
    ],
)
def test_a_damaged_record(run, refused, command, file, key, value):
    if command == "report" and file != "epochs.jsonl":
        pytest.skip("that report does not show them")
    edit(run / file, lambda record: record | {key: value})
    number = len((run / file).read_text().splitlines())
    refused(f"{file}, line {number}, is damaged: {key} is", *READING[command])


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("status.json", {"state": "finished"}),
        ("effective.json", {"optimizer": "ARS"}),
        ("environment.json", {"backends": 5}),
        ("groups.json", [{"name": "matrix"}]),
    ],
)
def test_a_damaged_document(run, refused, command, file, content):
    (run / file).write_text(json.dumps(content))
    refused(f"{file} is damaged", *READING[command])


@pytest.mark.parametrize("command", ["eval", "sample", "export"])
def test_a_damaged_configuration(run, refused, command):
    edit(run / "config.json", lambda config: config | {"model": {"num_layers": "many"}})
    refused("config.json is damaged: model.num_layers is 'many'", *READING[command])


def test_an_effective_configuration_of_another_kind(run, refused):
    edit(run / "effective.json", lambda table: table | {"train": table["train"] | {"epochs": "many"}})
    refused("train.epochs was 'many'", *READING["resume"])


def sign(checkpoint):
    sums = {name: sha256_of(checkpoint / name) for name in ("model.safetensors", "state.pt")}
    (checkpoint / "manifest.json").write_text(json.dumps({"step": 6, "sha256": sums}))


def resave(run, change):
    """Replace the run's state by what `change` makes of it, with a manifest that fits."""
    (checkpoint,) = (run / "checkpoints").iterdir()
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    torch.save(change(state), checkpoint / "state.pt")
    sign(checkpoint)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


def other_shape(state):
    """One tensor of the optimizer is longer than its parameter."""
    entries = state["optimizer"]["state"]
    name = next(
        key for key in entries[0] if isinstance(entries[0][key], torch.Tensor) and entries[0][key].ndim
    )
    entries[0][name] = torch.zeros(5, 5)
    return state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {"step": Bomb()}, "it is not a saved state, or holds objects"),
        (lambda state: [1, 2], "it is [1, 2]; it must be an object"),
        (lambda state: {}, "optimizer is missing"),
        (lambda state: without(state, "random"), "random is missing"),
        (lambda state: without(state, "data"), "data is missing"),
        (lambda state: state | {"step": "6"}, "step is '6'; it must be a whole number"),
        (lambda state: state | {"step": torch.ones(())}, "step is tensor(1.)"),
        (lambda state: state | {"epoch_step": -1}, "epoch_step is -1"),
        (lambda state: state | {"epoch_step": 10**6}, "epoch_step is 1000000"),
        (lambda state: state | {"target_reached": 1}, "target_reached is 1"),
        (lambda state: state | {"metrics": {"steps": "x"}}, "metrics.steps is 'x'"),
        (lambda state: state | {"metrics": {"mine": 1}}, "it does not fit the run, TypeError"),
        (lambda state: state | {"data": {"train": 5}}, "data.train is 5"),
        (lambda state: state | {"random": {}}, "it does not fit the run, KeyError"),
        (
            lambda state: state | {"random": state["random"] | {"torch": torch.zeros(9, dtype=torch.uint8)}},
            "it does not fit the run, ",
        ),
        (lambda state: state | {"random": state["random"] | {"numpy": "x"}}, "it does not fit the run, "),
        (
            lambda state: state | {"random": state["random"] | {"python": [3, [], 0]}},
            "it does not fit the run, ",
        ),
        (lambda state: state | {"optimizer": {}}, "it does not fit the run, "),
        (
            lambda state: state | {"optimizer": torch.optim.SGD([torch.ones(2)], 0.1).state_dict()},
            "it does not fit the run, ",
        ),
        (other_shape, " is a torch.float32 of shape (5, 5)"),
        (lambda state: state | {"optimizer_name": "Muon"}, "was saved by a run of 'Muon', not of 'ARS'"),
    ],
)
def test_a_state_that_fits_its_manifest_and_not_the_run(run, refused, change, words):
    resave(run, change)
    refused(words, *READING["resume"])
    assert not Path("executed").exists()


def test_a_state_of_the_version_before_is_resumed(run, monkeypatch):
    """It says nothing of the optimizer's name."""
    resave(run, lambda state: without(state, "optimizer_name"))
    monkeypatch.setattr("sys.argv", ["arsbench", *READING["resume"]])
    with pytest.raises(SystemExit) as exit_:
        program.main()
    assert not exit_.value.code


@pytest.mark.parametrize("command", OF_WEIGHTS)
@pytest.mark.parametrize(
    "change",
    [
        lambda weights: {},
        lambda weights: {name: tensor[:1].clone() for name, tensor in weights.items()},
        lambda weights: {name: torch.full_like(tensor, torch.nan) for name, tensor in weights.items()},
    ],
    ids=["none", "other shapes", "nan"],
)
def test_weights_that_fit_their_manifest_and_not_the_run(run, refused, command, change):
    (checkpoint,) = (run / "checkpoints").iterdir()
    save_file(change(load_file(checkpoint / "model.safetensors")), checkpoint / "model.safetensors")
    sign(checkpoint)
    refused("model.safetensors", *READING[command])


@pytest.mark.parametrize("command", OF_WEIGHTS)
def test_a_weights_file_that_is_none(run, refused, command):
    (checkpoint,) = (run / "checkpoints").iterdir()
    (checkpoint / "model.safetensors").write_bytes(b"\xff" * 100)
    sign(checkpoint)
    refused("model.safetensors", *READING[command])


@pytest.mark.parametrize("command", ["eval", "sample", "export"])
@pytest.mark.parametrize("content", [b"", b"{}", b'{"model": {"type": "BPE"}}', b"\xff"])
def test_a_damaged_tokenizer(run, refused, command, content):
    (run / "tokenizer.json").write_bytes(content)
    refused("tokenizer", *READING[command])


@pytest.mark.parametrize("command", ["sample", "export"])
def test_a_tokenizer_of_another_vocabulary(run, refused, command):
    tokenizer = json.loads((run / "tokenizer.json").read_text())
    added = tokenizer["added_tokens"]
    size = len(tokenizer["model"]["vocab"])
    added.append(added[0] | {"id": size, "content": "<|more|>"})
    (run / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused(f"entries and the model {size}", *READING[command])


@pytest.mark.parametrize("temperature", ["nan", "inf", "-inf", "-1"])
def test_a_temperature_that_is_no_number_to_divide_by(run, refused, temperature):
    words = f"the temperature is {float(temperature)}; it must be finite and ≥ 0"
    refused(words, *READING["sample"], "--temperature", temperature)


def test_a_prompt_that_is_not_utf_8(run, refused):
    prompt = os.fsdecode(b"The \xff river")
    refused("is not valid UTF-8", "sample", "run", "--prompt", prompt)
    with pytest.raises(UserError, match="the prompt is not UTF-8 text at character 5; give it in UTF-8"):
        sample_run(RunFolder.open(run), prompt, 3, 1.0, 0, pytest.fail)


def test_a_folder_whose_name_is_not_utf_8(run):
    """Its name stands in the page, the report and the table, none of which can hold it."""
    odd = os.fsdecode(b"odd-\xff")
    run.rename(odd)
    runs = load([odd, "run-2"])
    assert [one.name for one in runs] == [r"odd-\udcff", "run-2"]
    page = write_page(runs, "page.html")
    (written, *_) = write_csv(runs, Path("out.csv"))
    for path in (page, written):
        assert r"odd-\udcff" in path.read_text(encoding="utf-8")
