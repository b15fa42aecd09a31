"""Suites so small that a run takes as long as its process needs to start."""

import json
import tomllib

import pytest

SUITE = """
name = "tiny"
config = "tiny.json"
seeds = [1, 2]
baseline = "AdamW"

[contenders.AdamW]
name = "AdamW"
lr = 1e-3

[contenders.ARS]
k = 3
"""


class Silent:
    """An observer that keeps messages and snapshots."""

    def __init__(self):
        self.messages, self.snapshots = [], []

    def message(self, text):
        self.messages.append(text)

    def progress(self, snapshot):
        self.snapshots.append(snapshot)


@pytest.fixture
def observer():
    return Silent()


@pytest.fixture
def write_suite(tiny, tmp_path, write_config):
    """Save a suite file beside the tiny configuration, and return its path."""

    def write(text=SUITE, **train):
        tiny["train"] |= train
        tiny["data"]["tokenizer_path"] = str(tmp_path / "tokenizer.json")
        write_config(tiny)
        path = tmp_path / "suite.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture
def parse(tiny):
    """A suite from its text, on the tiny configuration."""
    from arsbench.suite.file import check_suite, suite_from_dict

    def parse(text):
        suite = suite_from_dict(tomllib.loads(text), json.loads(json.dumps(tiny)))
        check_suite(suite)
        return suite

    return parse
