"""Suites that version 0.1.0 began go on as it would have gone on."""

import json

import pytest

from arsbench.suite.folder import SuiteFolder

SUITE = """
name = "older"
config = "tiny.json"
seeds = [1]
[contenders.AdamW]
name = "AdamW"
[contenders."ARS lazy"]
name = "ARS"
k = 3
adaptive_sync = false
[contenders.A-GSAM]
name = "ARS"
adaptive_sync = true
[contenders.chosen]
name = "ARS"
second_moment = "bounded"
"""
STEPS = {"AdamW": 10, "ARS lazy": 10, "A-GSAM": 10, "chosen": 10}


def second_moments(folder):
    return {run.contender: run.config.optimizer.second_moment for run in folder.runs}


@pytest.fixture
def folder(parse, tmp_path):
    folder = SuiteFolder(tmp_path / "suite")
    folder.path.mkdir()
    folder.plan(parse(SUITE), STEPS, 1)
    return folder


def test_a_suite_begun_now_takes_the_defaults(folder):
    expected = {"AdamW": None, "ARS lazy": None, "A-GSAM": None, "chosen": "bounded"}
    assert second_moments(folder) == expected


def test_an_older_suite_keeps_the_published_second_moment(folder, parse):
    path = folder.path / "plan.json"
    plan = json.loads(path.read_text())
    del plan["version"]  # which 0.1.0 did not record
    path.write_text(json.dumps(plan))
    expected = {"AdamW": None, "ARS lazy": "plain", "A-GSAM": "injected", "chosen": "bounded"}
    assert second_moments(folder) == expected
    more = parse(SUITE.replace("seeds = [1]", "seeds = [1, 2]"))
    folder.plan(more, STEPS, 1)  # with another seed
    assert second_moments(folder) == expected
    trial = folder.suite.contenders[1].config(7).given
    assert folder.as_begun(trial)["optimizer"]["second_moment"] == "plain"
