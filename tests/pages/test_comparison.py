"""A comparison as Markdown and as data."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from arsbench.analysis import load
from arsbench.analysis.checks import UNKNOWN
from arsbench.analysis.contenders import distinct
from arsbench.analysis.overview import overview
from arsbench.analysis.significance import holm
from arsbench.errors import UserError
from arsbench.metrics import perplexity
from arsbench.pages.html import write_page
from arsbench.pages.markdown import plot_lines, render, table_lines, write_suite
from arsbench.pages.table_model import Cell, Table
from arsbench.report.markup import row_cells
from arsbench.runs.folder import RunFolder
from arsbench.runs.json_files import encode

SEED_REPORT = Path(__file__).parents[1] / "report" / "seed_report.md"


@pytest.fixture
def rivals(record_run):
    """AdamW, and Muon that is better by 0.2 of every one of three seeds, nearly."""
    losses = {"AdamW": (4.5, 4.01, 4.05), "Muon": (4.4, 3.81, 3.86)}
    return [
        record_run(f"{name}-{seed}", (first, base + 0.01 * seed), optimizer=name, seed=seed)
        for name, (first, base, _) in losses.items()
        for seed in (1, 2, 3)
    ]


def section(text, heading):
    """The lines of a section."""
    _, _, rest = text.partition(f"\n## {heading}")
    assert rest, f"no section {heading}"
    return rest.partition("\n## ")[0].split("\n")[1:]


def table(text, heading):
    """The rows of a section's tables as dictionaries."""
    rows, header = [], None
    for line in section(text, heading):
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = row_cells(line)
        elif not line.startswith("|--"):
            rows.append(dict(zip(header, row_cells(line), strict=True)))
    return rows


def test_the_order_of_the_sections(rivals, record_run):
    failed = record_run(
        "AdamW-4", (4.6,), optimizer="AdamW", seed=4, state="non_finite", message="loss is NaN."
    )
    text = render(overview(distinct(load([*rivals, failed]))))
    found = [
        line[3:].split(",")[0].rstrip("0123456789. ") for line in text.split("\n") if line.startswith("## ")
    ]
    assert found == [
        "Warnings",
        "Configuration differences",
        "Results",
        "Paired by seed",
        "Cost to reach",
        "Time and memory",
        "Failures and unfinished runs",
        "Verdict",
    ]
    assert section(text, "Failures") == [
        "- AdamW-4 stopped because a number was no longer finite after step 100: loss is NaN.",
        "",
    ]


def test_results_of_each_contender(rivals):
    adamw, muon = table(render(overview(load(rivals))), "Results")
    assert adamw == {
        "Contender": "AdamW",
        "Mean": "4.0300",
        "Median": "4.0300",
        "Range": "4.0200 to 4.0400",
        "Best": "4.0300",
        "Runs": "3",
    }
    adamw, _ = table(render(overview(load(rivals))), "Time and memory")
    assert adamw == {
        "Contender": "AdamW",
        "Steps": "200",
        "Passes": "240",
        "Seconds": "60",
        "ms/step": "300.0",
        "Peak resident MiB": "1,500",
    }
    assert muon["Mean"] == "3.8300"


def test_pairs_stand_with_their_three_budgets(rivals):
    found = overview(load(rivals))
    text = render(found)
    final, _, best = text.partition("\nBest value up to the budget, at equal steps:")
    rows = table(final, "Paired by seed, against AdamW")
    assert "| Muon" in best
    captions = [line for line in section(final, "Paired by seed") if line.startswith("At equal")]
    assert captions == ["At equal steps:", "At equal passes:", "At equal seconds:"]
    rows = [row for row in rows if row["Contender"] == "Muon"]
    assert {row["n"] for row in rows} == {"3"}
    assert {row["Difference"] for row in rows} == {"-0.2000"}
    assert [row["Verdict"] for row in rows] == [c.verdict for c in found.comparisons if c.at == "final"]
    for at in ("final", "best"):  # a table each, in which the three are corrected together
        pairs = [c for c in found.comparisons if c.at == at]
        assert [c.p_adjusted for c in pairs] == holm([c.p_value for c in pairs])
        assert pairs[0].p_adjusted == 3 * pairs[0].p_value
    assert "Muon" in "\n".join(section(text, "Verdict"))


def test_all_pairs(rivals, record_run):
    more = [record_run(f"ARS-{seed}", (4.5, 4.2), seed=seed) for seed in (1, 2, 3)]
    found = overview(load([*rivals, *more]), all_pairs=True)
    assert len({frozenset((c.baseline, c.rival)) for c in found.comparisons}) == 3
    assert len(found.comparisons) == 2 * 9
    assert "−" in table(render(found), "Paired by seed, all pairs")[0]["Pair"]


def test_cost_to_a_target(rivals):
    adamw, muon = table(render(overview(load(rivals), target=4.45)), "Cost to reach 4.45")
    assert (adamw["Reached by"], adamw["Steps"], adamw["Seconds"]) == ("3 of 3", "200", "60")
    assert (muon["Reached by"], muon["Passes"], muon["Seconds"]) == ("3 of 3", "120", "30")
    _, muon = table(render(overview(load(rivals), target=3.835)), "Cost to reach 3.835")
    assert (muon["Reached by"], muon["Steps"]) == ("2 of 3", "200")
    _, muon = table(render(overview(load(rivals), target=3.825)), "Cost to reach 3.825")
    assert (muon["Reached by"], muon["Steps"]) == ("1 of 3", "not reached")


def test_the_seed_report_beside_a_run_of_ours(record_run):
    runs = distinct(load([SEED_REPORT, record_run("own", seed=42)]))
    found = overview(runs)
    assert found.metric.name == "seed_loss"
    text = render(found)
    assert any("not the task's deciding metric" in line for line in section(text, "Warnings"))
    (seed, mine), (seed_cost, my_cost) = table(text, "Results"), table(text, "Time and memory")
    assert (seed["Contender"], seed["Mean"], seed_cost["Steps"]) == ("ARS (seed_report)", "4.4079", "N/A")
    assert (seed_cost["Seconds"], seed_cost["Peak GPU MiB"]) == ("2,804", "3,581")
    assert (mine["Contender"], mine["Mean"], my_cost["Steps"]) == ("ARS (own)", "3.5000", "200")


def test_a_diverged_contender_has_no_mean(record_run):
    runs = load([record_run("a"), record_run("b", (4.5, math.nan), optimizer="Muon")])
    a, b = table(render(overview(runs)), "Results")
    assert (b["Mean"], b["Median"], b["Range"], b["Best"]) == ("nan", "nan", "nan", "4.5000")
    assert a["Mean"] == "4.0000"


def test_one_seed_works_without_a_verdict(record_run):
    found = overview(load([record_run("a"), record_run("b", optimizer="Muon")]))
    assert {c.verdict for c in found.comparisons} == {"unreachable"}
    assert any("no verdict" in line for line in section(render(found), "Warnings"))


def test_one_contender_alone_is_shown(record_run):
    found = overview(load([record_run("a"), record_run("b", seed=2)]))
    assert found.comparisons == []
    assert table(render(found), "Results")[0]["Runs"] == "2"
    assert section(render(found), "Verdict")[0]


def test_seeds_without_a_common_one_are_shown(record_run):
    found = overview(load([record_run("a"), record_run("b", optimizer="Muon", seed=2)]))
    assert found.comparisons == []
    assert len(table(render(found), "Results")) == 2


def test_a_baseline_without_figures_does_not_hide_the_others(record_run):
    waiting = record_run("a", (), state="running")
    found = overview(load([waiting, record_run("b", optimizer="Muon")]))
    assert (found.baseline, found.comparisons, found.target) == ("ARS", [], None)
    first, second = table(render(found), "Results")
    assert (first["Runs"], first["Mean"], second["Mean"]) == ("0 of 1", "N/A", "4.0000")


def test_differences_are_shown_the_narrow_way(record_run):
    wide = {"optimizer": {"k": 3, "alpha": 0.2, "lr": 0.01}, "train": {"precision": "bf16"}}
    text = render(overview(distinct(load([record_run("a"), record_run("b", config=wide)]))))
    rows = {row["Key"]: row for row in table(text, "Configuration differences")}
    assert rows["optimizer.lr"] == {"Key": "optimizer.lr", "ARS (a)": "0.0001", "ARS (b)": "0.01"}
    many = [record_run(f"c-{n}", optimizer="Muon", config={"optimizer": {"lr": n / 10}}) for n in range(1, 9)]
    text = render(overview(distinct(load(many))))
    assert table(text, "Configuration differences")[1] == {"Contender": "Muon (c-2)", "optimizer.lr": "0.2"}


def test_eight_contenders_fit_a_terminal(record_run):
    names = ("AdamW", "Muon", "AdaMuon", "RMSuon", "AdaRMSuon", "ARS", "torch.optim:SGD", "torch.optim:Adam")
    runs = [record_run(f"{n}-{s}", (14.5, 4 + s / 10), optimizer=n, seed=s) for n in names for s in (1, 2, 3)]
    tables = [line for line in render(overview(load(runs))).split("\n") if line.startswith("|")]
    assert max(map(len, tables)) <= 100


def test_the_choice_of_metric_and_baseline(rivals, record_run):
    runs = load(rivals)
    assert overview(runs, metric="train_loss").metric.name == "train_loss"
    assert overview(runs, baseline="Muon").baseline == "Muon"
    assert overview(runs, baseline="Muon-2").baseline == "Muon"
    with pytest.raises(UserError, match="'los'; did you mean 'loss'"):
        overview(runs, metric="los")
    with pytest.raises(UserError, match="'muon'; did you mean 'Muon'"):
        overview(runs, baseline="muon")
    with pytest.raises(UserError, match="seed_report has no values of the metric 'loss'; it has seed_loss"):
        overview(load([SEED_REPORT, record_run("own")]), metric="loss")
    with pytest.raises(UserError, match="none of the runs has finished an epoch"):
        overview(load([record_run("new", (), state="running")]))
    with pytest.raises(UserError, match="different tasks"):
        overview(load([*rivals, record_run("mod", config={"experiment": {"tasks": ["mod_addition"]}})]))


def test_a_suites_report_has_its_baseline_and_its_tuning(rivals, tmp_path):
    runs = [
        {
            "name": path.name,
            "contender": "my " + path.name[:-2],
            "folder": path.name,
            "config": {"experiment": {"seed": int(path.name[-1]), "tasks": ["wikitext2_line"]}},
        }
        for path in rivals
    ]
    config = {"experiment": {"seed": 4, "tasks": ["wikitext2_line"]}}
    runs.append(runs[0] | {"name": "AdamW-4", "folder": "AdamW-4", "config": config})
    tuned = {"trials": 5, "pruned": 2, "non_finite": 0, "steps": 12345, "passes": 23456, "seconds": 67.8}
    tuned |= {"best": {"optimizer.lr": 0.00123456}}
    plan = {"name": "mine", "baseline": "my Muon", "runs": runs}
    plan["tuning"] = {"trials": 5, "seeds": [9], "contenders": {"my AdamW": tuned | {"value": 4.25}}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "failures").mkdir()
    (tmp_path / "failures" / "AdamW-4.json").write_text(json.dumps({"message": "killed", "exit_code": -9}))
    found, path = write_suite(tmp_path, load([tmp_path]))
    assert path == tmp_path / "summary.md"
    text = path.read_text()
    assert text.startswith("# ARS-Bench Suite mine\n")
    assert found.baseline == "my Muon"
    row, best = table(text, "Tuning")
    row |= best  # a table too wide for a terminal is split
    assert list(row.values())[:4] == ["my AdamW", "5", "2", "0"]
    assert list(row.values())[4:] == ["12,345", "23,456", "68", "4.2500", "optimizer.lr = 0.00123456"]
    assert table(text, "Results")[0]["Runs"] == "3 of 4"
    assert section(text, "Failures")[0] == "- AdamW-4 failed: killed."
    assert any("tuning budgets differ" in line for line in section(text, "Warnings"))


@pytest.mark.parametrize("how", [{"state": "non_finite"}, {"diverged_at": 101}], ids=str)
def test_a_run_that_diverged_has_lost_whatever_it_had_reached(record_run, how):
    """Before its first evaluation, or after one that was the best of all."""
    sources = [record_run(f"A-{seed}", optimizer="AdamW", seed=seed) for seed in range(8)]
    for name, losses in (("Muon", ()), ("ARS", (1.0,))):
        sources += [
            record_run(f"{name}-{seed}", losses, optimizer=name, seed=seed, **how) for seed in range(8)
        ]
    found = overview(load(sources))
    assert {(c.rival, c.verdict) for c in found.comparisons if c.at == "final"} == {
        ("Muon", "worse"),
        ("ARS", "worse"),
    }
    assert [math.isnan(result.mean) for result in found.results] == [False, True, True]
    assert overview(load(sources), baseline="Muon").target is None
    assert "+nan" not in render(found)


def test_failures_and_divergence_are_listed_with_their_steps(record_run):
    sources = [
        record_run("a", (4.5, 4.0), optimizer="AdamW"),
        record_run("b", (4.5, 4.0), diverged_at=1012),
        record_run("c", (4.5,), seed=2, state="failed", message="ValueError: no luck (mine.py, line 7)"),
    ]
    text = render(overview(load(sources)))
    assert section(text, "Failures")[:2] == [
        "- b diverged at step 1,012 and finished after step 200.",
        "- c failed after step 100: ValueError: no luck (mine.py, line 7).",
    ]
    assert any("b diverged at step 1,012" in line for line in section(text, "Verdict"))
    data = overview(load(sources)).as_dict()
    assert [run["diverged_at"] for run in data["runs"]] == [None, 1012, None]
    assert [result["diverged"] for result in data["results"]] == [0, 1]


def test_of_runs_without_an_epoch_those_that_failed_are_named(record_run):
    waiting = record_run("a", (), state="running")
    with pytest.raises(UserError, match=r"has finished an epoch yet; wait for one"):
        overview(load([waiting]))
    broken = record_run("b", (), seed=2, state="failed", message="no luck")
    with pytest.raises(UserError, match=r"has finished an epoch \(b failed: no luck\); compare other"):
        overview(load([waiting, broken]))


def test_perplexities_beyond_the_limit_and_their_differences(record_run):
    """No number of hundreds of digits, and nothing that overflows."""
    sources = []
    for name, loss in (("AdamW", 4.0), ("ARS", 620.0), ("Muon", 1000.0), ("RMSuon", 708.65)):
        for seed in (1, 2, 3):
            folder = RunFolder(record_run(f"{name}-{seed}", (), optimizer=name, seed=seed))
            for epoch in (1, 2):
                figures = {"loss": loss + seed / 10, "perplexity": perplexity(loss + seed / 10)}
                folder.append_epoch(
                    {
                        "epoch": epoch,
                        "step": epoch,
                        "task": "wikitext2_line",
                        "evaluation": {"validation": {"seed": figures}},
                    }
                )
            folder.set_status("finished", 2)
            sources.append(folder.path)
    found = overview(load(sources), metric="seed_perplexity")
    text = render(found)
    _, ars, muon, _ = table(text, "Results")
    assert [ars[key] for key in ("Mean", "Median", "Range", "Best")] == ["> 1e6"] * 4
    assert (muon["Mean"], muon["Range"]) == ("> 1e6", "> 1e6")
    assert re.fullmatch(r"\+\d\.\d{4}e\+269", table(text, "Paired")[0]["Difference"])
    assert max(map(len, text.split("\n"))) < 600
    by, infinitely, _ = (shortfall.sentence() for shortfall in found.shortfalls(0.01, True))
    assert by.startswith("ARS, > 1e6 against 66.9088 (+3.35e+269 %), p = ")
    assert infinitely.startswith("Muon, > 1e6 against 66.9088 (+inf %), p = ")


def test_every_configuration_difference_is_shown(made_run, tmp_path):
    runs = [made_run(name, seed) for name in ("A", "B") for seed in (1, 2)]
    runs.append(made_run("C"))
    differences = [
        ("optimizer.lr", [0.000173766632082747, UNKNOWN, 0.01, UNKNOWN, None]),
        ("optimizer.betas", [[0.9, 0.95], True, None, None, False]),
        ("train.epochs", [UNKNOWN, UNKNOWN, 1, 2, 1]),
        ("optimizer.nesterov", [None, None, True, True, True]),
        ("optimizer.adam_lr", [0.003, UNKNOWN, None, None, None]),
    ]
    comparison = replace(overview(runs), differences=differences)
    text = render(comparison)
    assert "—: the contender has no such key, or it is not set. unknown: not reported." in text
    rows = table(text, "Configuration differences")
    assert rows == [
        {"Key": "optimizer.lr", "A": "0.000173767", "B": "0.01", "C": "—"},
        {"Key": "optimizer.betas", "A": "[0.9, 0.95] / true", "B": "—", "C": "false"},
        {"Key": "train.epochs", "A": "unknown", "B": "1 / 2", "C": "1"},
        {"Key": "optimizer.nesterov", "Value": "true", "Only for": "B, C"},
        {"Key": "optimizer.adam_lr", "Value": "0.003", "Only for": "A"},
    ]
    html = write_page(runs, tmp_path / "page.html", comparison).read_text()
    for row in rows:
        for cell in row.values():
            assert f">{cell}</t" in html


def test_as_data(rivals):
    found = overview(load(rivals))
    data = json.loads(json.dumps(encode(found.as_dict()), allow_nan=False))
    assert (data["baseline"], data["metric"]["name"], data["task"]) == ("AdamW", "loss", "wikitext2_line")
    assert data["results"][1]["mean"] == pytest.approx(3.83)
    assert [c["budget"] for c in data["comparisons"]] == 2 * ["steps", "passes", "seconds"]
    assert data["comparisons"][0]["metric"] == "loss"
    assert data["configuration_differences"][0]["values"]["Muon-1"] == "Muon"
    assert len(data["runs"]) == 6
    assert data["runs"][0]["epochs"][1]["step"] == 200


def test_shortfalls(rivals, record_run):
    found = overview(load(rivals), baseline="Muon")
    (adamw,) = found.shortfalls(0.01, True)
    assert (adamw.contender, adamw.value, adamw.baseline) == (
        "AdamW",
        pytest.approx(4.03),
        pytest.approx(3.83),
    )
    assert adamw.p_value is not None
    assert found.shortfalls(0.06, True) == []
    assert found.shortfalls(0.21, False) == []
    assert len(found.shortfalls(0.19, False)) == 1
    assert overview(load(rivals), baseline="AdamW").shortfalls(0, False) == []


def test_what_diverged_or_failed_is_worse_whatever_is_allowed(record_run):
    sources = [
        record_run("a"),
        record_run("b", (4.5, math.nan), optimizer="Muon"),
        record_run("c", (3.0,), optimizer="AdamW", state="non_finite"),
        record_run("d", (), optimizer="RMSuon", state="running"),
        record_run("e", (3.0,), optimizer="AdaMuon", diverged_at=7),
    ]
    found = overview(load(sources))
    worse = ["Muon", "AdamW", "RMSuon", "AdaMuon"]
    assert [s.contender for s in found.shortfalls(1000, False)] == worse
    with pytest.raises(UserError, match="'RMSuon' has no values"):
        overview(load(sources), baseline="RMSuon").shortfalls(1000, False)


@pytest.mark.parametrize("how", [{"state": "non_finite"}, {"diverged_at": 12}], ids=str)
def test_a_seed_that_diverged_counts_though_it_is_not_paired(made_run, how):
    runs = [made_run(name, seed) for name in "AB" for seed in (1, 2)]
    assert overview(runs).shortfalls(0, False) == []
    (b,) = overview([*runs, made_run("B", 3, **how)]).shortfalls(1000, False)
    assert (b.contender, math.isnan(b.value)) == ("B", True)


def test_a_baseline_that_diverged_once_excuses_nobody(made_run):
    ours = [made_run("A", seed) for seed in (1, 2)] + [made_run("A", 3, state="non_finite")]
    theirs = [made_run("B", seed, loss=9.0) for seed in (1, 2, 3)]
    (b,) = overview([*ours, *theirs]).shortfalls(0.005, True)
    assert (b.contender, b.baseline, b.value) == ("B", pytest.approx(4.015), pytest.approx(9.015))
    one = [run for run in theirs if run.seed == 3]
    assert [s.baseline for s in overview([*ours, *one]).shortfalls(0.005, True)] == [pytest.approx(4.015)]
    with pytest.raises(UserError, match="the baseline 'A' has no values"):
        overview([ours[2], *theirs]).shortfalls(0.005, True)


@pytest.mark.parametrize("state", ["running", "interrupted", "waiting", "failed"])
def test_a_run_that_has_not_ended_is_left_out_of_means_and_costs(made_run, state):
    epochs = 0 if state == "waiting" else 1
    runs = [made_run(name, seed) for name in "AB" for seed in (1, 2)]
    runs.append(made_run("B", 3, epochs=epochs, loss=40.0, state=state))
    found = overview(runs)
    a, b = found.results
    assert (b.mean, len(b.finals), len(b.states)) == (a.mean, 2, 3)
    assert [(cost.reached, cost.runs, cost.medians["steps"]) for cost in found.costs] == [(2, 2, 30)] * 2
    assert [s.contender for s in found.shortfalls(0.5, True)] == ["B"]  # not every run has a figure


def test_a_baseline_without_a_finite_figure_has_no_target(made_run):
    broken = made_run("A", 1, epochs=1, loss=math.nan, state="non_finite")
    found = overview([broken, made_run("B", 1)])
    assert (found.target, found.costs) == (None, [])


def test_more_of_an_accuracy_is_better(record_run):
    task = {"config": {"experiment": {"tasks": ["mod_addition"]}}}

    def run(name, accuracy, **options):
        path = record_run(name, (1.0,), **task, **options)
        text = (path / "epochs.jsonl").read_text()
        text = text.replace('"seed": {"loss": 0.5}', f'"all": {{"loss": 0.5, "accuracy": {accuracy}}}')
        (path / "epochs.jsonl").write_text(text)
        return path

    found = overview(load([run("a", 0.9), run("b", 0.8, optimizer="Muon")]))
    assert "higher is better" in render(found)
    assert [s.contender for s in found.shortfalls(0.05, False)] == ["Muon"]
    assert overview(found.runs, baseline="Muon").shortfalls(0.05, False) == []


def test_pictures_are_linked_from_where_the_report_is(tmp_path):
    plot = SimpleNamespace(
        title="Loss by step", path=tmp_path / "plots" / "my loss.svg", description="It falls."
    )
    lines = plot_lines([plot], tmp_path / "run")
    assert lines[1:] == ["## Plots", "", "![Loss by step](<../plots/my loss.svg>)", "", "It falls."]


def test_columns_are_aligned_numbers_to_the_right():
    rows = [["a", "1.5", 1.5], ["bcdefg", "N/A", None], ["c", "-12.25", -12.25]]
    cells = [[Cell(name), Cell(text, value)] for name, text, value in rows]
    assert table_lines(Table("", ["Name", "x"], cells)) == [
        "| Name   |      x |",
        "|--------|--------|",
        "| a      |    1.5 |",
        "| bcdefg |    N/A |",
        "| c      | -12.25 |",
    ]


def test_wide_tables_are_split_and_repeat_their_first_column():
    lines = table_lines(Table("", ["Name", "x" * 60, "y" * 60], [[Cell("a"), Cell("b"), Cell("c")]]))
    assert [line.split()[1] for line in lines if line.startswith("| ")] == ["Name", "a", "Name", "a"]
    assert max(map(len, lines)) <= 100


# A configuration takes the first line alone; names in a plan may have been written by anything.
HOSTILE_LINE = "<script>x</script> ![p](http://e/p) [c](javascript:y) `a`|b"
HOSTILE = HOSTILE_LINE + "\n## Fake\n\n| c |\x1b[31m"


def test_hostile_names_stay_names(rivals, record_run, tmp_path):
    """Names, messages and settings of other people's suites do nothing in a report, and stay readable."""
    odd = record_run("Muon-4", (4.1,), optimizer="Muon", seed=4, config={"data": {"path": HOSTILE_LINE}})
    folders = [*rivals, odd]
    runs = [
        {
            "name": path.name,
            "contender": HOSTILE if "Muon" in path.name else "AdamW",
            "folder": path.name,
            "config": {"experiment": {"seed": int(path.name[-1]), "tasks": ["wikitext2_line"]}},
        }
        for path in folders
    ]
    plan = {"name": HOSTILE, "baseline": HOSTILE, "runs": runs, "tuning": None}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "failures").mkdir()
    (tmp_path / "failures" / "AdamW-1.json").write_text(json.dumps({"message": HOSTILE}))
    found, path = write_suite(tmp_path, load([tmp_path]))
    text = path.read_text()
    shown = HOSTILE.replace("\n", r"\n").replace("\x1b", r"\x1b")
    assert found.baseline == shown
    assert {row["Contender"] for row in table(text, "Results")} == {"AdamW", shown}
    differences = table(text, "Configuration differences")
    assert any(HOSTILE_LINE in cell for row in differences for cell in row.values())
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)(<[A-Za-z/]|`|[\[\]](?![0-9. ]))", text)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert not any(line.startswith("## Fake") for line in headings)
    lone = [line for line in text.splitlines() if line.startswith("| c |")]
    assert not lone
