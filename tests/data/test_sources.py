import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from arsbench.config.schema import DataConfig
from arsbench.data.sources import hash_texts, load_texts
from arsbench.errors import UserError

TRAIN_LINES = 4


def refused(data):
    with pytest.raises(UserError) as caught:
        load_texts(data)
    return str(caught.value)


def test_known_names_are_found_and_lines_kept_as_they_are(data, folder):
    texts = load_texts(data)
    assert texts.train[0] == " = The cat = "
    assert (len(texts.train), len(texts.validation), len(texts.test)) == (TRAIN_LINES, 2, 1)
    assert "wiki.train.tokens" in texts.origin


def test_raw_text_is_preferred(data, folder):
    for name in "train", "valid":
        (folder / f"wiki.{name}.raw").write_text(f"raw {name}\n")
    texts = load_texts(data)
    assert (texts.train, texts.validation, texts.test) == (["raw train"], ["raw valid"], None)


def test_only_newlines_end_a_line(data, folder):
    (folder / "wiki.train.tokens").write_bytes("one\x0cstill one\u2028and one\r\ntwo\nthree".encode())
    assert load_texts(data).train == ["one\x0cstill one\u2028and one", "two", "three"]


def test_named_files_are_used_and_no_others(data):
    data = replace(data, train_file="wiki.valid.tokens", validation_file="wiki.test.tokens")
    texts = load_texts(data)
    assert texts.train[0].startswith("The dog sat")
    assert texts.validation[0].startswith("A dog and")
    assert texts.test is None


def test_files_without_path_read_the_environment(data, folder, monkeypatch):
    monkeypatch.setenv("ARSBENCH_WIKITEXT2", str(folder))
    assert len(load_texts(replace(data, path=None)).train) == TRAIN_LINES


def test_auto_prefers_path_then_environment(data, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("ARSBENCH_WIKITEXT2", str(folder))
    assert len(load_texts(DataConfig()).train) == TRAIN_LINES
    assert str(tmp_path / "elsewhere") in refused(DataConfig(path=str(tmp_path / "elsewhere")))


def test_auto_without_anything_shows_the_three_ways(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "datasets" else find_spec(name)
    )
    message = refused(DataConfig())
    for way in "ARSBENCH_WIKITEXT2", "pip install arsbench[hub]", "--set data.source=pydocs", "data.path":
        assert way in message


def test_auto_never_takes_the_hub_for_named_files():
    assert "data.path" in refused(DataConfig(train_file="a.txt", validation_file="b.txt"))


def test_keys_that_a_source_does_not_read_are_refused():
    assert "data.train_file" in refused(DataConfig(source="hub", train_file="a.txt"))
    assert "data.path" in refused(DataConfig(source="pydocs", path="somewhere"))


def test_unknown_source_is_refused():
    assert "'web'" in refused(DataConfig(source="web"))


def test_missing_directory(data, tmp_path):
    assert f"{tmp_path}/no" in refused(replace(data, path=f"{tmp_path}/no"))


def test_path_that_is_a_file(data, folder):
    assert "not a directory" in refused(replace(data, path=str(folder / "wiki.test.tokens")))


def test_directory_without_texts_says_what_was_looked_for(data, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refused(replace(data, path=str(tmp_path / "empty")))
    assert "wiki.train.raw" in message
    assert "wiki.valid.raw" in message


def test_file_key_that_names_nothing(data):
    message = refused(replace(data, train_file="nothing.txt", validation_file="wiki.valid.tokens"))
    assert "data.train_file" in message
    assert "nothing.txt" in message


def test_train_and_validation_are_both_needed(data):
    assert "data.validation_file is not" in refused(replace(data, train_file="wiki.valid.tokens"))


@pytest.mark.parametrize("content", ["", " \n\n \t\n"])
@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("valid", "validation"), ("test", "test")])
def test_blank_text_names_its_split(data, folder, name, split, content):
    (folder / f"wiki.{name}.tokens").write_text(content)
    message = refused(data)
    assert f"the {split} text" in message
    assert f"wiki.{name}.tokens" in message


def test_binary_file_names_the_byte(data, folder):
    (folder / "wiki.train.tokens").write_bytes(b"abc\0def")
    assert "byte 3" in refused(data)


def test_other_encoding_names_the_byte(data, folder):
    (folder / "wiki.valid.tokens").write_bytes("caf\xe9 au lait\n".encode("latin-1"))
    message = refused(data)
    assert "byte 3" in message
    assert "UTF-8" in message


def test_hash_sees_where_texts_end():
    assert hash_texts(["ab", "c"]) != hash_texts(["a", "bc"])
    assert hash_texts(["ab"]) != hash_texts(["ab", ""])


@pytest.fixture
def hub(tmp_path):
    """Runs load_texts(source="hub") in an offline process with a Hugging Face home of its own."""
    pytest.importorskip("datasets")

    def run(path):
        script = textwrap.dedent(
            """
            import json, sys
            from arsbench.config.schema import DataConfig
            from arsbench.data.sources import load_texts
            from arsbench.errors import UserError
            try:
                texts = load_texts(DataConfig(source="hub", path=json.loads(sys.argv[1])))
                print(json.dumps([texts.train, texts.validation, texts.test, texts.origin]))
            except UserError as error:
                print(json.dumps({"refused": str(error)}))
            """
        )
        environment = os.environ | {
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-c", script, json.dumps(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_hub_reads_a_copy_of_the_repository(hub, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {
        "train": ["", " = Title = \n", "", " Some text . With <unk> in it . \n"],
        "validation": [" Other text . \n"],
        "test": [" Last text . \n", ""],
    }
    copy = tmp_path / "wikitext"
    configuration = {"config_name": "wikitext-2-raw-v1", "data_files": []}
    for split, texts in rows.items():
        name = f"wikitext-2-raw-v1/{split}-00000-of-00001.parquet"
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict({"text": texts}).to_parquet(copy / name)
        configuration["data_files"].append({"split": split, "path": name})
    # The hub's own card says in its header which files make a configuration; JSON is YAML.
    (copy / "README.md").write_text(f"---\nconfigs: {json.dumps([configuration])}\n---\n")

    train, validation, test, origin = hub(str(copy))
    assert train == [" = Title = ", " Some text . With <unk> in it . "]
    assert (validation, test) == ([" Other text . "], [" Last text . "])
    assert "wikitext-2-raw-v1" in origin


def test_hub_out_of_reach_is_one_sentence(hub):
    message = hub(None)["refused"]
    assert "Salesforce/wikitext" in message
    assert "check the network" in message
    assert "\n" not in message
