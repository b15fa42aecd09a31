"""Suites that version 0.1.0 began go on as it would have gone on."""

import json

import pytest

import arsbench.suite.run
from arsbench.errors import UserError
from arsbench.suite import read_suite, run_suite
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


def test_a_begun_suite_may_name_a_key_that_its_optimizer_lacks(write_suite, observer, tmp_path):
    """Version 0.1.0 ignored such keys; a suite that begins now is refused."""
    text = SUITE[: SUITE.index("[contenders.A-GSAM]")] + "momentum = 0.5\n"
    suite = read_suite(write_suite(text, epochs=1))
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"ARS has no optimizer\.momentum"):
        run_suite(suite, out, workers=1, threads=1, observer=observer)
    assert not out.exists()
    out.mkdir()
    SuiteFolder(out).plan(suite, STEPS, 1)
    outcome = run_suite(suite, out, workers=2, threads=1, observer=observer)
    assert (outcome.done, outcome.failures) == (2, {})


def test_a_begun_suite_keeps_its_label(write_suite, tmp_path, observer, monkeypatch):
    """Of the configuration's text, which older versions kept whatever text the suite sets."""
    facts = {"runs": {"AdamW": {"steps": 10}}, "trials": {}, "device": "cpu"}
    monkeypatch.setattr(arsbench.suite.run, "_prepare", lambda suite, threads: facts)
    monkeypatch.setattr(arsbench.suite.run.Pool, "run", lambda *arguments: None)
    text = (
        'name = "older"\nconfig = "tiny.json"\nseeds = [1]\n[set]\ndata.path = "mine"\n[contenders.AdamW]\n'
    )
    text += 'name = "AdamW"\n'
    run_suite(read_suite(write_suite(text)), tmp_path / "out", observer=observer)
    plan = tmp_path / "out" / "plan.json"
    assert [run.config.task for run in SuiteFolder.open(plan.parent).runs] == ["wikitext2_line (files: mine)"]
    plan.write_text(plan.read_text().replace("wikitext2_line (files: mine)", "wikitext2_line (tiny)"))
    more = read_suite(write_suite(text.replace("[1]", "[1, 2]")))
    run_suite(more, plan.parent, observer=observer)
    assert [run.config.task for run in SuiteFolder.open(plan.parent).runs] == ["wikitext2_line (tiny)"] * 2
    assert SuiteFolder.open(plan.parent).suite.task == "wikitext2_line (tiny)"
