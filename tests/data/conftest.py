"""Every test here has a cache of its own and no text from the environment."""

import pytest

from arsbench.config.schema import DataConfig

TRAIN = [
    " = The cat = ",
    "The cat sat on the mat . It was warm . The dog looked on .",
    "Nothing happened for a while ; then the dog barked and the cat left .",
    "The mat stayed where it was . Nobody else came that day .",
]
VALIDATION = ["The dog sat on the mat . It was cold .", "Then the cat came back ."]
TEST = ["A dog and a cat . They sat on a mat ."]


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    monkeypatch.delenv("ARSBENCH_WIKITEXT2", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """A directory with the three texts under WikiText's names, each with blank lines in it."""
    folder = tmp_path / "text"
    folder.mkdir()
    for name, lines in ("train", TRAIN), ("valid", VALIDATION), ("test", TEST):
        (folder / f"wiki.{name}.tokens").write_text(" \n" + "\n\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path, folder):
    """A `data` section that reads `folder`."""
    return DataConfig(source="files", path=str(folder), tokenizer_path=str(tmp_path / "tokenizer.json"))
