"""The page of a run or a comparison, as text."""

import base64
import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from arsbench.analysis import load
from arsbench.analysis.overview import overview
from arsbench.pages.html import write_page

from .page import Element, Page

SEED_REPORT = Path(__file__).parents[1] / "report" / "seed_report.md"


@pytest.fixture
def page(tmp_path):
    """`page(runs, **options)`: the page of these runs."""
    return lambda runs, **options: Page(write_page(runs, tmp_path / "report.html", **options))


@pytest.fixture(scope="module")
def rivals(made_run):
    """Three contenders of three seeds; the last is of another machine and has cosines."""
    runs = [
        made_run(name, seed, loss=loss, passes=passes)
        for name, loss, passes in (("AdamW", 4.2, 10), ("Muon", 4.0, 10), ("ARS", 3.9, 12))
        for seed in (1, 2, 3)
    ]
    for run in runs[6:]:
        run.environment["cpu"] = "Faster"
        run.epochs[-1]["diagnostics"] = {"cos_pos_2": 0.11, "cos_pos_2_pre": 0.01, "cos_pos_0": 0.1}
    return runs


@pytest.fixture(scope="module")
def rival_page(rivals, tmp_path_factory):
    """The page of these."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    return Page(write_page(rivals, path))


def test_sections_and_their_order(rival_page):
    found = rival_page
    assert [section.attributes["id"] for section in found.root.find("section")] == [
        "verdict",
        "comparisons",
        "warnings",
        "results",
        "costs",
        "curves",
        "gradients",
        "cosines",
        "time-and-memory",
        "configuration",
        "environment",
    ]
    for section in found.root.find("section"):
        heading = section.attributes["aria-labelledby"]
        assert next(section.find("h2", id=heading)).text
    assert "Times and memory are not comparable" in found.section("warnings").text


def test_results_comparisons_and_costs(page, rivals, rival_page):
    found = rival_page
    rows = found.rows("results")
    assert [row["Contender"] for row in rows] == ["AdamW", "Muon", "ARS"]
    assert (rows[0]["Runs"], rows[0]["Mean"], rows[0]["Range"]) == ("3", "4.2200", "4.2100 to 4.2300")
    spent = found.rows("time-and-memory")
    assert (spent[2]["Steps"], spent[2]["Passes"], spent[2]["Seconds"]) == ("30", "36", "6")
    captions = [next(table.find("caption")).text for table in found.section("comparisons").find("table")]
    assert captions[:3] == ["At equal steps", "At equal passes", "At equal seconds"]
    assert captions[3] == "Best value up to the budget, at equal steps"
    pairs = found.rows("comparisons")
    assert [row["Contender"] for row in pairs] == ["Muon", "ARS"]
    assert list(pairs[0])[:3] == ["Contender", "Difference", "Verdict"]
    assert pairs[0]["Difference"] == "-0.2000"
    costs = found.rows("costs")
    assert (costs[0]["Reached by"], costs[0]["Steps"]) == ("2 of 3", "30")
    assert (costs[1]["Reached by"], costs[1]["Steps"]) == ("3 of 3", "30")


def test_a_comparison_that_is_known_already(page, rivals):
    found = page(rivals, overview=overview(rivals, metric="bits_per_byte", baseline="Muon", target=1.96))
    assert "Cost to reach 1.9600" in found.section("costs").text
    assert found.rows("results")[0]["Mean"] == "2.1100"
    assert {row["Contender"] for row in found.rows("comparisons")} == {"AdamW", "ARS"}
    assert "mean of the contender minus Muon" in found.section("comparisons").text


def test_every_figure_is_in_the_page_as_text_too(rival_page):
    figures = list(rival_page.root.find("figure"))
    assert len(figures) == 2 * 3 + 2 + 1 + 2
    for figure in figures:
        (svg,) = figure.find("svg")
        assert svg.attributes["role"] == "img"
        assert svg.attributes["aria-label"].endswith(".")
        assert next(figure.find("figcaption")).text == svg.attributes["aria-label"]
        (details,) = figure.find("details")
        rows = list(next(details.find("tbody")).find("tr"))
        assert rows
        labels = [next(row.find("th")).text.partition(",")[0] for row in rows]
        assert set(labels) <= {"AdamW", "Muon", "ARS"}


def test_a_figures_table_has_what_it_shows(rival_page):
    (figure,) = rival_page.root.find("figure", id="figure-loss-by-passes")
    header, *body = next(figure.find("table")).find("tr")
    assert [cell.text for cell in header.find("th")] == [
        "Contender",
        "Forward-backward passes",
        "Mean",
        "Lowest",
        "Highest",
    ]
    last = [cell.text for cell in body[-1].children if isinstance(cell, Element)]
    assert last == ["ARS", "36", "3.92", "3.91", "3.93"]


def test_ids_are_unique_and_references_lead_to_them(rival_page):
    found = rival_page
    ids = Counter(re.findall(r"\bid=[\"']([^\"']+)", found.source))
    assert set(ids.values()) == {1}
    references = re.findall(r"(?:href=[\"']#|url\(#|aria-labelledby=[\"'])([^\"')]+)", found.source)
    assert set(references) <= set(ids)
    assert any(reference.startswith("loss-by-steps-") for reference in references)


def test_nothing_is_loaded_from_anywhere(rival_page):
    found = rival_page
    assert not re.search(r"https?:|@import|\bsrc=|url\((?!#)", found.source)
    (rules,) = (
        meta.attributes["content"]
        for meta in found.root.find("meta")
        if meta.attributes.get("http-equiv") == "Content-Security-Policy"
    )
    script = re.search(r"<script>(.*?)</script>", found.source, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in rules
    assert not re.search(r"\son[a-z]+=", found.source.replace(script, ""))


def test_drawings_have_no_style_that_reaches_beyond_them(rival_page):
    found = rival_page
    assert len(list(found.root.find("style"))) == 1
    drawn = "".join(re.findall(r"<svg.*?</svg>", found.source, re.DOTALL))
    assert "var(--series-2)" in drawn
    assert "var(--ink)" in drawn
    assert not re.search(r"#[0-9a-f]{6}|font-family|DejaVu", drawn)


def test_everything_is_visible_without_the_script(rival_page):
    found = rival_page
    (switch,) = found.root.find("fieldset")
    assert "hidden" in switch.attributes
    assert [c.attributes["value"] for c in switch.find("input")] == ["steps", "passes", "seconds"]
    assert 'class="off"' not in found.source
    parts = [c for c in found.section("curves").find("div") if "data-budget" in c.attributes]
    assert [part.attributes["data-budget"] for part in parts] == ["steps", "passes", "seconds"]


def test_what_runs_tell_is_escaped(page, made_run):
    evil = "<script>alert(1)</script> & \"quoted\" 'too'"
    runs = [made_run(evil), made_run("B", state="failed", message=evil)]
    runs[0].config["optimizer"]["note"] = evil
    runs[0].environment[evil] = evil
    found = page(runs, overview=replace(overview(runs), warnings=[evil], verdict=evil))
    assert found.source.count("<script") == 1
    assert evil in found.section("warnings").text
    assert evil in found.section("verdict").text
    assert evil in found.section("incomplete").text
    assert found.rows("results")[0]["Contender"] == evil
    assert evil in found.section("environment").text
    (svg,) = next(found.root.find("figure", id="figure-loss-by-steps")).find("svg")
    assert "<script>alert" in svg.text  # shortened, but whole to the parser


def test_a_page_of_24_long_runs_is_small(page, made_run, tmp_path):
    names = [f"contender {number}" for number in range(8)]
    runs = [made_run(name, seed, epochs=600) for name in names for seed in (1, 2, 3)]
    page(runs)
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


def test_the_same_runs_give_the_same_page(page, rivals, rival_page):
    assert page(rivals).source == rival_page.source


def test_one_run(page, made_run):
    found = page([made_run("ARS", 7)])
    assert next(found.root.find("h1")).text == "ARS-Bench run ARS-7"
    outcome = found.section("verdict").text
    assert "ARS-7 finished after step 30; its best validation loss" in outcome
    assert "was 4.0700, in epoch 3 of 3." in outcome
    rows = found.rows("results")
    assert [row["Epoch"] for row in rows] == ["1", "2", "3"]
    assert rows[-1]["Validation loss (strict, nats per target)"] == "4.0700"
    assert "Peak GPU Mem (MB)" not in rows[0]
    assert found.section("comparisons") is None
    assert found.section("costs") is None
    assert '"k": 5' in found.section("configuration").text


def test_a_long_run_has_a_short_table(page, made_run):
    rows = page([made_run(epochs=601)]).rows("results")
    assert len(rows) <= 41
    assert rows[-1]["Epoch"] == "601"


def test_one_contender_has_nothing_to_be_compared_with(page, made_run):
    outcome = page([made_run(seed=1), made_run(seed=2)]).section("verdict").text
    assert "from 4.0100 to 4.0200 at the end of 2 runs; no other contender to compare with" in outcome


def test_of_one_contender_those_that_diverged_are_counted(page, made_run):
    runs = [made_run(seed=1), made_run(seed=2), made_run(seed=3, state="non_finite")]
    outcome = page(runs).section("verdict").text
    assert "from 4.0100 to 4.0200 at the end of 2 runs; 1 diverged; no other" in outcome


def test_a_run_that_diverged_is_told_by_its_step(page, rivals, made_run):
    found = page([*rivals, made_run("Muon", 4, diverged_at=12)])
    ending = "Muon-4 diverged at step 12 and finished after step 30."
    assert [item.text for item in found.section("incomplete").find("li")] == [ending]
    assert "Muon-4 diverged at step 12; a diverged run ranks below" in found.section("verdict").text
    assert "Muon-4 4.7067 diverged at step 12 1 10" in found.section("results").text


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (12, "; its best validation loss (strict, nats per target) before that was 4.6767, in epoch 1 of 3."),
        (5, "."),
    ],
)
def test_one_run_that_diverged(page, made_run, step, words):
    outcome = page([made_run(diverged_at=step)]).section("verdict").text
    assert f"ARS-1 diverged at step {step} and finished after step 30{words}" in outcome


def test_milestones_after_divergence_were_not_reached(page, made_run):
    accurate = {"task": "mod_addition", "loss": 1.0}
    runs = [made_run(**accurate), made_run("Muon", diverged_at=12, **accurate)]
    rows = [row.text for row in page(runs).section("results").find("tr")]
    assert "ARS 1 1 3 3" in rows
    assert "Muon 1 1 not reached not reached" in rows


def test_no_number_of_a_comparison_has_hundreds_of_digits(page, made_run):
    runs = [made_run(seed=seed) for seed in (1, 2, 3)]
    runs += [made_run("Muon", seed, loss=620.0) for seed in (1, 2, 3)]
    found = page(runs, overview=overview(runs, metric="seed_perplexity"))
    assert found.rows("results")[1]["Mean"] == found.rows("results")[1]["Range"][:5] == "> 1e6"
    assert re.fullmatch(r"\+\d\.\d{4}e\+269 to \+\d\.\d{4}e\+269", found.rows("comparisons")[0]["95 % CI"])
    assert not re.search(r"\d{40}", found.source)
    lone = page(runs[3:4], overview=overview(runs[3:4], metric="seed_perplexity")).section("verdict").text
    assert "perplexity (seed protocol) was > 1e6, in epoch 3 of 3." in lone


def test_runs_that_have_no_epoch_yet(page, made_run):
    runs = [made_run(seed=seed, epochs=0, state="running") for seed in (1, 2)]
    assert "No run has been evaluated yet." in page(runs).section("verdict").text
    found = page(runs[:1])
    assert "ARS-1 had not finished when this was written." in found.section("verdict").text
    assert not list(found.root.find("figure"))


def test_failures_are_told_one_by_one(page, rivals, made_run):
    broken = [
        made_run("Muon", 4, state="non_finite", message="the loss became nan at step 17."),
        made_run("Muon", 5, state="failed", epochs=0, message="killed"),
    ]
    found = page([*rivals, *broken])
    assert [item.text for item in found.section("incomplete").find("li")] == [
        "Muon-4 stopped because a number was no longer finite after step 30: the loss became nan at step 17.",
        "Muon-5 failed: killed.",
    ]
    assert "Not every run is finished" in found.section("warnings").text
    assert found.rows("results")[1]["Runs"] == "4 of 5"


def test_configurations_and_environments_that_differ(page, rivals):
    other = replace(rivals[-1], environment={"python": "3.12", "backends": {"newton_schulz": "reference"}})
    found = page([*rivals[:-1], other])
    assert found.rows("configuration") == [
        {"Contender": name, "optimizer.name": name} for name in ("AdamW", "Muon", "ARS")
    ]
    differing = found.rows("environment")
    assert [row["Fact"] for row in differing] == ["python", "backends: newton_schulz", "cpu"]
    assert differing[1]["ARS-3"] == "reference"


def test_the_best_of_one_run_may_be_within_an_epoch(page, made_run):
    run = made_run("ARS", 7)
    within = {"epoch": 2, "step": 15, "forward_backward_passes": 5, "epoch_seconds": 1.0}
    figures = {"validation": {"strict": {"loss": 3.5}}}
    outcome = page([replace(run, evaluations=[within | {"evaluation": figures}])]).section("verdict").text
    assert "was 3.5000, in epoch 2 of 3 and 4.0700 after the last." in outcome


def test_milestones_are_those_of_runs_that_ended(page, made_run):
    runs = [made_run("A", seed, task="mod_addition", loss=1.2) for seed in (1, 2)]
    runs += [made_run("A", seed, task="mod_addition", epochs=0, state="waiting") for seed in (3, 4, 5)]
    runs.append(made_run("B", task="mod_addition", loss=5.0))
    tables = list(page(runs).section("results").find("table"))
    _, a, _ = tables[1].find("tr")
    assert [cell.text for cell in a.children] == ["A", "1", "1", "not reached", "not reached"]


def test_milestones_of_modular_addition(page, made_run):
    runs = [made_run("A", task="mod_addition", loss=1.2), made_run("B", task="mod_addition", loss=5.0)]
    tables = list(page(runs).section("results").find("table"))
    header, *body = tables[1].find("tr")
    assert [cell.text for cell in header.find("th")] == ["Contender", "10%", "50%", "90%", "99%"]
    assert [[c.text for c in row.children] for row in body] == [
        ["A", "1", "1", "not reached", "not reached"],
        ["B", "1", "not reached", "not reached", "not reached"],
    ]


def test_the_published_report(page):
    found = page(load([SEED_REPORT]))
    assert "was read from a report" in found.section("verdict").text
    assert [row["Epoch"] for row in found.rows("results")] == ["1", "2", "3", "4", "5"]
    names = [figure.attributes["id"] for figure in found.root.find("figure")]
    assert "figure-seed-loss-by-seconds" in names
    assert "figure-cosines" in names


def test_time_and_memory(page, made_run):
    found = page([made_run("A", 1), made_run("A", 2, epochs=0)])
    assert found.rows("time-and-memory") == [
        {
            "Contender": "A",
            "Steps": "30",
            "Passes": "30",
            "Seconds": "6",
            "ms/step": "200.0",
            "Targets/s": "1,000",
            "Peak resident MiB": "900",
        }
    ]


def test_tuning_of_a_suite(page, record_run, tmp_path):
    entries = []
    for name in ("AdamW", "Muon"):
        path = record_run(f"runs/{name}/seed-1", optimizer=name)
        entries.append({
            "name": f"{name}-1", "contender": name, "folder": str(path.relative_to(tmp_path)),
            "config": {"experiment": {"seed": 1, "tasks": ["wikitext2_line"]}},
        })  # fmt: skip
    spent = {"trials": 8, "pruned": 3, "non_finite": 1, "steps": 1200, "passes": 1500, "seconds": 99.5}
    spent |= {"best": {"lr": 0.003}, "value": 4.25}
    plan = {
        "name": "made",
        "task": "wikitext2_line",
        "suite": {},
        "baseline": "AdamW",
        "tuning": {"trials": 8, "seeds": [101], "contenders": {"AdamW": spent, "Muon": spent}},
        "runs": entries,
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    found = page(load([tmp_path]))
    assert next(found.root.find("h1")).text == f"ARS-Bench suite {tmp_path.name}"
    assert found.rows("tuning")[1] == {
        "Contender": "Muon",
        "Trials": "8",
        "Pruned": "3",
        "Diverged": "1",
        "Steps": "1,200",
        "Passes": "1,500",
        "Seconds": "100",
        "Best value": "4.2500",
        "Best settings": "lr = 0.003",
    }
