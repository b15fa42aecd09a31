"""The commands on a run of modular addition: what has a meaning there works, the rest says so."""

import json

import pytest

from arsbench.runs.folder import RunFolder


@pytest.fixture
def trained(invoke, write_config, modular):
    code, output, error = invoke("train", write_config(modular), "--out", "run")
    assert code == 0, error
    return output


def test_train_and_eval(trained, invoke, tmp_path):
    run = RunFolder.open(tmp_path / "run")
    recorded = run.epochs()[-1]["evaluation"]
    assert f"accuracy {run.epochs()[0]['evaluation']['validation']['all']['accuracy']:.4f}" in trained
    assert "| Eval Loss | Eval Accuracy |" in trained
    assert "### Milestones" in (tmp_path / "run" / "summary.md").read_text()
    assert not run.tokenizer_path.exists()
    code, output, _ = invoke("eval", "run", "--json")
    assert (code, json.loads(output)) == (0, recorded)
    assert "validation, all: loss" in invoke("eval", "run")[1]
    code, _, error = invoke("eval", "run", "--split", "test")
    assert (code, "the run has no split 'test'; it has validation" in error) == (2, True)


def test_an_optimizer_in_a_file_of_the_current_folder(invoke, write_config, modular, tmp_path):
    (tmp_path / "of_a_user.py").write_text("import torch\n\nclass Mine(torch.optim.SGD):\n    pass\n")
    modular["optimizer"] = {"name": "of_a_user:Mine", "lr": 0.01}
    code, _, error = invoke("train", write_config(modular), "--out", "run")
    assert code == 0, error
    assert RunFolder.open(tmp_path / "run").effective["optimizer"]["name"] == "of_a_user:Mine"


def test_a_long_table_is_cut_on_the_terminal_only(invoke, write_config, modular, tmp_path):
    modular["train"] |= {"epochs": 24, "ckpt_every": 24}
    _, output, _ = invoke("train", write_config(modular), "--out", "run")
    assert "The last 20 of 24 epochs:" in output
    assert "| 4 | mod_addition" not in output
    assert "| 5 | mod_addition" in output
    assert "| 4 | mod_addition" in (tmp_path / "run" / "summary.md").read_text()


@pytest.mark.parametrize(
    "arguments", [("export", "run", "--to", "hf", "out"), ("sample", "run", "--prompt", "1 + 1")]
)
def test_what_needs_text_says_so(trained, invoke, tmp_path, arguments):
    code, output, error = invoke(*arguments)
    assert (code, output) == (2, "")
    assert error.startswith("Error: run is a run of mod_addition (tiny), which has no language model; ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["prepare", "inspect"])
def test_there_are_no_texts_to_look_at(invoke, command):
    code, _, error = invoke("data", command, "mod_addition")
    assert code == 2
    assert error == "Error: mod_addition reads no texts; give a configuration of wikitext2_line\n"


def test_a_setting_that_would_not_be_true_is_refused(invoke):
    code, _, error = invoke("train", "mod_addition", "--set", "model.num_layers=2")
    assert code == 2
    assert error.startswith("Error: model.num_layers is 2; the model one_layer needs 1")
    assert error.count("\n") == 1
