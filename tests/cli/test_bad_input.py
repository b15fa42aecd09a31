"""What a user can get wrong: one sentence that names it, exit code 2, no traceback, nothing lost."""

import json
import os
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from arsbench_cli import main as program

from arsbench.runs.folder import RunFolder


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command line in this process; returns its exit code and what it said on standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["arsbench", *arguments])
        with pytest.raises(SystemExit) as exit_:
            program.main()
        return exit_.value.code or 0, capsys.readouterr().err

    return call


@pytest.fixture
def refused(run):
    """The same, for input that must be refused with these words."""

    def call(words: str, *arguments: str) -> None:
        code, error = run(*arguments)
        assert code == 2, error
        assert words in error
        assert "Traceback" not in error
        *warnings, last = error.splitlines()
        assert last.startswith("Error: ")
        assert all(line.startswith("Warning: ") for line in warnings), error

    return call


def test_missing_and_malformed_configuration(refused, tmp_path):
    refused("there is no configuration file or preset 'nothing.json'", "train", "nothing.json")
    (tmp_path / "broken.json").write_text('{"model": ')
    refused("broken.json is not valid JSON", "train", "broken.json")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optimizer.wieght_decay=1", "did you mean 'optimizer.weight_decay'?"),
        ("model.embedding_size=0", "model.embedding_size is 0"),
        ("optimizer.ns_steps=-1", "optimizer.ns_steps is -1"),
        ("optimizer.k=2.5", "optimizer.k is 2.5"),
        ("optimizer.name=Adom", "Adom"),
        ("optimizer.name=no_such_package:Thing", "no_such_package"),
        ("optimizer.name=torch.optim:NoSuch", "NoSuch"),
        ('experiment.tasks=["reversi"]', "experiment.tasks is ['reversi']; the task must be one of"),
    ],
)
def test_wrong_keys_and_values(refused, write_config, tiny, override, words):
    refused(words, "train", write_config(tiny), "--set", override)


def test_another_optimizer_starts_from_its_own_defaults_and_resumes(run, write_config, tiny, tmp_path):
    tiny["train"] |= {"max_steps": 2}
    options = ("--set", "optimizer.name=Muon", "--set", "optimizer.momentum=0.5", "--out", "run")
    code, error = run("train", write_config(tiny), *options)
    assert code == 0
    assert "are for ARS and are dropped; Muon starts from its defaults: lr 0.001" in error
    expected = {
        "name": "Muon",
        "lr": 1e-3,
        "weight_decay": 0.1,
        "ns_steps": 5,
        "adam_lr": None,
        "adam_betas": [0.9, 0.999],
        "adam_eps": 1e-8,
        "adam_weight_decay": 0.01,
        "momentum": 0.5,
    }
    assert json.loads((tmp_path / "run" / "effective.json").read_text())["optimizer"] == expected
    (group, rest) = json.loads((tmp_path / "run" / "groups.json").read_text())
    assert (group["hyperparameters"]["lr"], rest["hyperparameters"]["lr"]) == (1e-3, 1e-3)
    more = ("--set", "train.max_steps=2", "--set", "train.epochs=3", "--resume")
    assert run("train", write_config(tiny), *options, *more)[0] == 0
    code, error = run("data", "inspect", write_config(tiny), *options[:2])
    assert code == 0
    assert "Muon starts from its defaults" in error


def test_a_run_that_an_older_version_began_resumes_with_the_files_hyperparameters(
    run, write_config, tiny, tmp_path
):
    tiny["train"] |= {"max_steps": 2}
    options = ("--set", "optimizer.name=AdamW", "--out", "run")
    assert run("train", write_config(tiny), *options)[0] == 0
    for name, optimizer in (("config", tiny["optimizer"]), ("effective", {"lr": 0.002, "weight_decay": 0.1})):
        path = tmp_path / "run" / f"{name}.json"
        stored = json.loads(path.read_text())
        kept = {} if name == "config" else stored["optimizer"]
        path.write_text(json.dumps(stored | {"optimizer": kept | optimizer | {"name": "AdamW"}}))
    code, error = run("train", write_config(tiny), *options, "--set", "train.epochs=3", "--resume")
    assert (code, error) == (0, "")


def test_keys_that_the_optimizer_does_not_have(refused, write_config, tiny):
    config = write_config(tiny)
    words = "ARS has no optimizer.momentum; its keys are lr, betas, eps"
    refused(words, "train", config, "--set", "optimizer.momentum=0.5")
    refused(words, "data", "inspect", config, "--set", "optimizer.momentum=0.5")


def test_what_is_no_regular_file(refused, tmp_path):
    for name in ("pipe.json", "pipe.toml", "pipe.md"):
        os.mkfifo(tmp_path / name)
    words = "it is a named pipe, not a regular file"
    refused(words, "train", "pipe.json")
    refused(words, "data", "inspect", "pipe.toml")
    refused(words, "suite", "run", "pipe.toml")
    refused(words, "compare", "pipe.md")
    refused(words, "report", "--from-markdown", "pipe.md", "--out", "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--workers", "--threads"])
def test_more_processes_than_any_machine_has(run, option):
    code, error = run("suite", "run", "demo-optimizers", option, "1000000000")
    assert code == 2
    assert "1000000000 is not in the range 1<=x<=1024" in error


def test_a_tokenizer_that_is_a_pipe(refused, write_config, tiny, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    tiny["data"]["tokenizer_path"] = "pipe"
    refused("cannot read the tokenizer file pipe: it is a named pipe", "train", write_config(tiny))


def test_arguments_that_are_not_utf8(refused, write_config, tiny):
    config = write_config(tiny)
    refused(r"the argument 'bad\udcff.toml' is not valid UTF-8", "train", "bad\udcff.toml")
    refused("is not valid UTF-8", "train", config, "--set", 'experiment.tasks=["wikitext2_line (\udcff)"]')
    refused("is not valid UTF-8", "compare", "\udcff")


def test_a_training_that_cannot_fit_allocates_nothing(refused, write_config, tiny, tmp_path):
    huge = ("--set", "model.embedding_size=1000000000")
    refused("training needs at least 29.6 TiB of memory", "train", write_config(tiny), *huge)
    assert not list((tmp_path / "runs").iterdir())
    assert not Path(tiny["data"]["tokenizer_path"]).exists()


def test_an_argument_that_another_packages_optimizer_does_not_take(refused, write_config, tiny):
    tiny["optimizer"] = {"name": "torch.optim:SGD", "lr": 0.1, "momentun": 0.9}
    refused("momentum", "train", write_config(tiny))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu(refused):
    refused("add --set experiment.device=cpu", "train", "seed")


def test_directories_and_texts(refused, write_config, tiny, texts, tmp_path):
    def with_train_text(content: bytes) -> str:
        folder = tmp_path / "texts"
        folder.mkdir(exist_ok=True)
        for file in texts.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "wiki.train.tokens").write_bytes(content)
        tiny["data"]["path"] = str(folder)
        return write_config(tiny)

    (tmp_path / "empty").mkdir()
    tiny["data"]["path"] = str(tmp_path / "empty")
    refused("wiki.train", "train", write_config(tiny))
    tiny["data"]["path"] = str(tmp_path / "nowhere")
    refused("nowhere", "train", write_config(tiny))
    refused("is blank", "train", with_train_text(b""))
    refused("is blank", "train", with_train_text(b" \n\n  \n"))
    refused("wiki.train.tokens", "train", with_train_text(b"abc \xff\xfe\x00 def"))
    short = b" A short text .\n Two sentences .\n"
    refused("fewer than one batch", "train", with_train_text(short))
    Path(tiny["data"]["tokenizer_path"]).unlink()
    path = with_train_text((texts / "wiki.train.tokens").read_bytes())
    (tmp_path / "texts" / "wiki.test.tokens").write_bytes(short)
    refused("fewer than one batch", "train", path)
    assert not list((tmp_path / "runs").iterdir())  # said before any training


def test_no_source_shows_the_three_ways(refused, monkeypatch, write_config, tiny):
    monkeypatch.delenv("ARSBENCH_WIKITEXT2", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    tiny["data"] |= {"source": "auto", "path": None}
    refused("ARSBENCH_WIKITEXT2", "train", write_config(tiny))


def test_tokenizers(refused, run, write_config, tiny, tmp_path):
    config = write_config(tiny)
    assert run("data", "prepare", config)[0] == 0
    path = Path(tiny["data"]["tokenizer_path"])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused("tokenizer.json is damaged", "train", config)
    vocabulary = json.loads(whole)
    vocabulary["added_tokens"] = []
    path.write_text(json.dumps(vocabulary))
    refused("tokenizer.json", "train", config)
    path.write_bytes(whole)
    refused("model.vocabulary_size", "train", config, "--set", "model.vocabulary_size=300")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(run, refused, write_config, tiny, tmp_path):
    tiny["train"]["max_steps"] = 6
    tiny["train"]["ckpt_every_steps"] = 3
    assert run("train", write_config(tiny), "--out", "run")[0] == 0
    older, newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, error = run("eval", "run")
    assert code == 0
    assert newest.name in error
    assert "damaged" in error
    assert run("train", write_config(tiny), "--out", "run", "--resume")[0] == 0
    assert RunFolder.open(tmp_path / "run").status["step"] == 6
    for directory in (older, newest):
        (directory / "state.pt").write_bytes(b"")
    refused("every checkpoint", "eval", "run")


def test_a_text_edited_since_training_is_not_evaluated(run, refused, write_config, tiny, texts, tmp_path):
    shutil.copytree(texts, tmp_path / "texts")
    tiny["data"]["path"] = str(tmp_path / "texts")
    tiny["train"]["max_steps"] = 1
    assert run("train", write_config(tiny), "--out", "run")[0] == 0
    with (tmp_path / "texts" / "wiki.valid.tokens").open("a") as text:
        text.write("The keeper finds a letter .\n")
    refused("the validation text has changed", "eval", "run")
    assert run("eval", "run", "--split", "test")[0] == 0


@pytest.mark.parametrize(
    "arguments", [("report",), ("eval",), ("export", "--to", "hf", "out"), ("sample", "--prompt", "The")]
)
def test_a_folder_that_is_no_run(refused, tmp_path, arguments):
    (tmp_path / "folder").mkdir()
    name, *rest = arguments
    refused("folder is not a run folder", name, "folder", *rest)
    refused("nowhere does not exist", name, "nowhere", *rest)


def test_output_that_cannot_be_written(refused, write_config, tiny, tmp_path):
    (tmp_path / "file").write_text("kept")
    refused("file", "train", write_config(tiny), "--out", "file/run")
    refused("file", "train", write_config(tiny), "--out", "file")
    assert (tmp_path / "file").read_text() == "kept"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    refused("not empty", "train", write_config(tiny), "--out", "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    refused("there is no run", "train", write_config(tiny), "--resume")


def test_an_export_overwrites_no_other_folder(run, refused, write_config, tiny, tmp_path):
    """A run's own folder least of all."""
    tiny["train"]["max_steps"] = 1
    assert run("train", write_config(tiny), "--out", "run")[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    refused("run is not empty and is not an export", "export", "run", "--to", "hf", "run")
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"))
    refused("is not empty", "export", "run", "--to", "hf", str(newest))
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for _ in range(2):
        assert run("export", "run", "--to", "hf", "exported")[0] == 0
    names = ["README.md", "arsbench_export.json", "config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == [
        *names,
        "tokenizer_config.json",
    ]


def test_a_failed_start_leaves_no_folder_behind(refused, write_config, tiny, tmp_path):
    tiny["data"]["path"] = "nowhere"
    refused("nowhere", "train", write_config(tiny))
    assert not list((tmp_path / "runs").iterdir())


def test_disk_full_while_saving(arsbench, write_config, tiny, tmp_path):
    """A limit on the size of files stands in for the full disk: writes past it fail."""
    tiny["train"]["epochs"] = 1
    config = write_config(tiny)
    assert arsbench("train", config, "--out", "run").returncode == 0
    checkpoints = tmp_path / "run" / "checkpoints"
    before = {path: path.read_bytes() for path in checkpoints.rglob("*") if path.is_file()}
    assert before

    def limit_file_size() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    more = ("--set", "train.epochs=2", "--out", "run", "--resume")
    done = arsbench("train", config, *more, preexec_fn=limit_file_size)
    assert done.returncode == 2, done.stderr
    assert "cannot save the checkpoint" in done.stderr
    assert "Traceback" not in done.stderr
    assert before == {path: path.read_bytes() for path in checkpoints.rglob("*") if path.is_file()}
    assert arsbench("train", config, *more).returncode == 0  # once there is room


def test_text_to_a_full_device(arsbench):
    with open("/dev/full", "w") as full:
        done = arsbench("presets", stdout=full, stderr=-1, capture_output=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
