"""Every command: its help, its output, its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from arsbench_cli.main import cli
from click.testing import CliRunner

from arsbench.runs.folder import RunFolder

README = Path(__file__).parents[2] / "README.md"


def commands(group=cli, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"),
    list(commands()),
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_every_command_has_help_with_an_example_and_is_in_the_readme(path, command):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example: arsbench " + " ".join(path) in result.output
    assert command.help
    assert all(p.help for p in command.params if p.param_type_name == "option")
    assert f"arsbench {' '.join(path)}" in README.read_text(encoding="utf-8")


def test_help_does_not_import_torch():
    script = (
        "import sys; from arsbench_cli.main import cli\n"
        "for arguments in (['--help'], ['train', '--help'], ['presets'], ['report', '--help']):\n"
        "    cli.main(arguments, standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'tokenizers', 'safetensors', 'datasets'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory, texts):
    """A run of one epoch, made by the command line in a process of its own."""
    folder = tmp_path_factory.mktemp("trained")
    config = {
        "experiment": {"tasks": ["wikitext2_line (tiny)"], "device": "cpu"},
        "model": {
            "vocabulary_size": 400,
            "embedding_size": 32,
            "sequence_length": 31,
            "num_heads": 2,
            "num_kv_heads": 1,
            "num_layers": 1,
            "intermediate_size": 48,
            "head_dim": 64,
        },
        "data": {"batch_size": 4, "tokenizer_path": "tokenizer.json", "source": "files", "path": str(texts)},
        "optimizer": {"lr": 0.002, "k": 3},
        "train": {"epochs": 1, "log_every": 5},
    }
    (folder / "tiny.json").write_text(json.dumps(config))
    script = "from arsbench_cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "train", "tiny.json", "--set", "train.log_every=2"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_train_prints_what_it_runs_and_the_table(trained):
    folder, output = trained
    run = RunFolder.open(folder / "runs" / "tiny")
    assert "optimizer: name=ARS, lr=0.002" in output
    assert "group matrix: 7 tensors" in output
    assert "| Epoch | Task | Train Loss |" in output
    assert str(Path("runs") / "tiny" / "summary.md") in output
    assert run.config["train"]["log_every"] == 2  # as given, overrides included
    assert run.effective["optimizer"]["adam_weight_decay"] == 0.01
    matrix, adamw = run.groups
    assert (matrix["tensors"], adamw["hyperparameters"]["weight_decay"]) == (7, 0.01)
    assert {record["step"] % 2 for record in run.steps()} == {0}
    assert (run.path / "summary.md").read_text().startswith("# ARS-Bench Experiment Report\n")
    assert run.environment["backends"].keys() >= {"newton_schulz", "ars_moments"}


def invoke(folder, monkeypatch, *arguments):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_eval_repeats_the_recorded_figures(trained, monkeypatch):
    folder, _ = trained
    recorded = RunFolder.open(folder / "runs" / "tiny").epochs()[-1]["evaluation"]
    assert json.loads(invoke(folder, monkeypatch, "eval", "runs/tiny", "--json")) == recorded
    one = json.loads(invoke(folder, monkeypatch, "eval", "runs/tiny", "--split", "test", "--json"))
    assert one == {"test": recorded["test"]}
    assert "validation, strict: loss" in invoke(folder, monkeypatch, "eval", "runs/tiny")


def test_report_is_rebuilt_from_the_folder_alone(trained, monkeypatch):
    folder, _ = trained
    summary = folder / "runs" / "tiny" / "summary.md"
    before = summary.read_text()
    summary.unlink()
    assert "summary.md" in invoke(folder, monkeypatch, "report", "runs/tiny")
    assert summary.read_text() == before


def test_sample_continues_and_repeats(trained, monkeypatch):
    folder, _ = trained
    arguments = ("sample", "runs/tiny", "--prompt", "The river", "--tokens", "8", "--json")
    first, second = (json.loads(invoke(folder, monkeypatch, *arguments)) for _ in range(2))
    assert first == second
    assert first["text"]
    other = json.loads(invoke(folder, monkeypatch, *arguments, "--seed", "1"))
    assert other != first
    assert invoke(folder, monkeypatch, "sample", "runs/tiny", "--prompt", "", "--temperature", "0")


def test_export_loads_in_transformers(trained, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from arsbench.training import load_model

    folder, _ = trained
    invoke(folder, monkeypatch, "export", "runs/tiny", "--to", "hf", "exported")
    theirs = AutoModelForCausalLM.from_pretrained(folder / "exported")
    tokenizer = AutoTokenizer.from_pretrained(folder / "exported")
    _, ours = load_model(RunFolder.open(folder / "runs" / "tiny"), print)
    ids = tokenizer("The keeper finds a café.", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_data_inspect_and_prepare(trained, monkeypatch):
    folder, _ = trained
    figures = json.loads(invoke(folder, monkeypatch, "data", "inspect", "tiny.json", "--json"))
    assert figures["splits"]["train"]["rows"] > 0
    text = invoke(folder, monkeypatch, "data", "inspect", "tiny.json")
    assert "padding" in text
    assert "rows" in invoke(folder, monkeypatch, "data", "prepare", "tiny.json")


def test_info_and_presets(monkeypatch, tmp_path):
    facts = json.loads(invoke(tmp_path, monkeypatch, "info", "--json"))
    assert set(facts["kernels"]["cpu"].values()) <= {"CPU kernel", "reference"}
    assert facts["presets"] == ["demo", "mod_addition", "seed", "seed-mini"]
    assert "newton_schulz" in invoke(tmp_path, monkeypatch, "info")
    assert json.loads(invoke(tmp_path, monkeypatch, "presets", "--json")) == facts["presets"]
    assert "[optimizer]" in invoke(tmp_path, monkeypatch, "presets", "seed")
    assert "demo" in invoke(tmp_path, monkeypatch, "presets")


def test_runs_are_never_overwritten(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    before = (folder / "runs" / "tiny" / "epochs.jsonl").read_bytes()
    arguments = ["train", "tiny.json", "--set", "train.max_steps=1"]
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0
    assert (folder / "runs" / "tiny-2" / "summary.md").exists()
    assert (folder / "runs" / "tiny" / "epochs.jsonl").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_the_run(arsbench, write_config, tiny, tmp_path):
    tiny["optimizer"] = {"name": "torch.optim:SGD", "lr": 1e30}
    tiny["train"]["ckpt_every_steps"] = 1
    done = arsbench("train", write_config(tiny), "--out", "run")
    assert done.returncode == 1, done.stderr
    run = RunFolder.open(tmp_path / "run")
    assert run.status["state"] == "non_finite"
    step = run.status["message"].rsplit("step ", 1)[1]
    assert f"step {step}" in done.stderr
    assert f"step {step}" in (tmp_path / "run" / "summary.md").read_text()
