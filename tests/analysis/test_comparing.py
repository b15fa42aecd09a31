"""Comparisons of runs: what is paired, at which budget, and what the verdict is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from arsbench.analysis import BUDGETS, baseline_target, compare, cost_to_target, seeds_needed, verdict
from arsbench.errors import UserError
from arsbench.metrics import METRICS

LOSS = METRICS["wikitext2_line"][0]


def test_a_planted_difference(contender):
    """Differences 0.3, 0.2, 0.25: t = 0.25 / (0.05 / √3), two degrees of freedom."""
    runs = contender("A", [4.0, 4.2, 4.1]) + contender("B", [3.7, 4.0, 3.85])
    (c,) = compare(runs)
    assert (c.baseline, c.rival, c.metric, c.budget, c.at) == ("A", "B", LOSS, "steps", "final")
    assert (c.seeds, c.spent) == ((1, 2, 3), 20)
    assert (c.baseline_values, c.rival_values) == ((4.0, 4.2, 4.1), (3.7, 4.0, 3.85))
    assert c.difference == pytest.approx(-0.25)
    assert c.effect_size == pytest.approx(-5.0)
    assert c.p_value == c.p_adjusted == pytest.approx(2 * stats.t.sf(0.25 / 0.05 * 3**0.5, 2))
    assert c.interval == pytest.approx((-0.25 - 0.124207, -0.25 + 0.124207), abs=1e-6)
    assert (c.test, c.verdict, c.seeds_needed) == ("paired t-test", "better", None)
    assert compare(runs, baseline="B")[0].verdict == "worse"


def test_of_accuracy_more_is_better(run):
    def runs(name, values):
        made = [run(name, seed, [0.0], task="mod_addition") for seed in range(len(values))]
        for one, value in zip(made, values, strict=True):
            one.epochs[0]["evaluation"] = {"validation": {"all": {"accuracy": value, "loss": 1.0}}}
        return made

    found = compare(runs("A", [0.1, 0.2, 0.15]) + runs("B", [0.8, 0.92, 0.86]))
    assert [c.verdict for c in found] == ["better"]


def test_seeds_pair_whatever_they_have_in_common(contender):
    """The seeds' own spread is a hundred times the difference, and falls out."""
    seeds = np.random.default_rng().normal(4.0, 1.0, 5)
    noise = np.random.default_rng().normal(0.0, 0.002, 5)
    runs = contender("A", seeds.tolist()) + contender("B", (seeds - 0.02 + noise).tolist())
    assert compare(runs)[0].verdict == "better"


def test_verdicts_are_corrected_for_their_number(contender):
    """p = 0.041 decides alone, and not among four."""
    base, better = [4.0, 4.0, 4.0], [3.9, 3.87, 3.94]
    alone = contender("A", base) + contender("B", better)
    assert compare(alone)[0].p_value == pytest.approx(0.0413, abs=5e-5)
    assert compare(alone)[0].verdict == "better"
    others = [r for name in "CDE" for r in contender(name, [4.1, 3.9, 4.02])]
    found = compare(alone + others)
    assert [c.rival for c in found] == ["B", "C", "D", "E"]
    assert found[0].p_adjusted == pytest.approx(4 * found[0].p_value)
    assert {c.verdict for c in found} == {"undecided"}
    assert all(c.seeds_needed > 3 for c in found)


def test_as_many_seeds_as_did_not_suffice_are_not_asked_for(contender):
    """By its power the permutation of 10 seeds shows this difference; these just miss it among seven."""
    lower = [-0.02, 3.38, 2.71, 2.28, 1.96, 3.15, 3.62, 3.57, -0.4, 4.05]
    noise = [(-1) ** n * 0.1 for n in range(10)]
    others = [r for name in "CDEFGH" for r in contender(name, noise)]
    runs = contender("A", [0.0] * 10) + contender("B", [-x for x in lower]) + others
    found = compare(runs, test="permutation")
    assert seeds_needed(lower, level=0.05 / 7, test="permutation") == 10
    assert (found[0].verdict, found[0].seeds_needed) == ("undecided", 11)


def test_all_budgets_are_one_family(contender):
    """p = 0.041 decides by a budget that was asked for alone, and not by one of three."""
    runs = contender("A", [4.0, 4.0, 4.0]) + contender("B", [3.9, 3.87, 3.94])
    assert [c.verdict for c in compare(runs, budget="passes")] == ["better"]
    found = compare(runs, budget=BUDGETS)
    assert [c.budget for c in found] == list(BUDGETS)
    assert [c.p_adjusted for c in found] == [pytest.approx(3 * c.p_value) for c in found]
    assert {c.verdict for c in found} == {"undecided"}
    assert {c.seeds_needed for c in found} == {seeds_needed([0.1, 0.13, 0.06], level=0.05 / 3)} == {5}
    text = verdict(runs)
    assert (
        text.splitlines()[0] == "B shows no significant difference from A at equal steps, passes and seconds."
    )
    assert "Significance: paired t-test at the 5 % level, Holm-corrected for 3 comparisons." in text
    without = contender("A", [4.0] * 3, passes_each=None, seconds_each=None) + runs[3:]
    assert "better than A: B" in verdict(without)
    assert "Holm" not in verdict(without)


def test_the_test_can_be_chosen(contender):
    runs = contender("A", [4.0] * 6) + contender("B", [3.9, 3.87, 3.94, 3.9, 3.85, 3.93])
    tests = {test: compare(runs, test=test)[0] for test in ("auto", "t", "permutation")}
    assert tests["auto"] == tests["t"]
    assert (tests["t"].test, tests["permutation"].test) == ("paired t-test", "exact permutation test")
    assert tests["permutation"].p_value == 2 / 2**6
    assert "Significance: exact permutation test at" in verdict(runs, test="permutation")
    # Three budgets need 2 / 2ⁿ below 0.05 / 3.
    assert {c.seeds_needed for c in compare(runs, budget=BUDGETS, test="permutation")} == {7}
    with pytest.raises(UserError, match="'z'; it must be one of auto, t, permutation"):
        compare(runs, test="z")


def test_all_pairs_begin_with_the_baseline(contender):
    runs = [r for name in "ABC" for r in contender(name, [4.0, 4.1, 4.2])]
    pairs = [(c.baseline, c.rival) for c in compare(runs, all_pairs=True, baseline="B")]
    assert pairs == [("B", "A"), ("B", "C"), ("A", "C")]


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_get_no_verdict_but_a_number(contender, seeds):
    runs = contender("A", [4.0, 4.1][:seeds]) + contender("B", [3.0, 3.0][:seeds])
    (c,) = compare(runs)
    assert (c.verdict, c.p_value, c.test) == ("unreachable", None, "")
    assert c.seeds_needed == {1: None, 2: 3}[seeds]
    text = verdict(runs)
    assert (
        f"no verdict with {seeds} seed{'s' * (seeds > 1)} in common (3 are needed): B (difference -1.0"
        in text
    )
    assert "better than" not in text


# With numbers that are not finite, and with finite ones, at the first step of the second epoch.
DIVERGED = [{"state": "non_finite"}, {"diverged_at": 11}]


@pytest.mark.parametrize("how", DIVERGED, ids=str)
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([math.nan] * 8, "worse"),  # the sign test's p is 0.008
        ([1.0] * 8, "worse"),
        ([math.nan] * 3, "undecided"),  # and here 0.25
    ],
)
def test_a_run_that_diverged_is_the_worst(contender, values, expected, how):
    runs = contender("A", [4.0 + 0.01 * i for i in range(len(values))])
    (c,) = compare(runs + contender("B", values, **how))
    assert (c.verdict, c.test) == (expected, "exact sign test")
    assert math.isnan(c.difference)
    assert c.interval is None


def test_a_schedule_that_is_cut_short_is_named(run):
    config = {"scheduler": {"name": "cosine"}}
    runs = [run("A", seed, [4.0, 3.9 + seed / 100], config=config) for seed in (1, 2, 3)]
    runs += [run("B", seed, [3.9, 3.7 + seed / 50], passes_each=20, config=config) for seed in (1, 2, 3)]
    cut = [line for line in verdict(runs).splitlines() if "schedule" in line]
    assert cut == [
        "At equal passes, the comparison ends before the learning-rate schedule of B, a disadvantage for B; "
        "set train.max_steps to give all runs equal budgets."
    ]
    flat = [replace(one, config={}) for one in runs]
    assert "schedule" not in verdict(flat)


def test_of_all_pairs_those_without_a_common_seed_are_named(run):
    seeds = {"A": range(6), "B": range(3), "C": range(3, 6)}
    runs = [run(name, seed, [4.0 + seed**2 / 100]) for name, own in seeds.items() for seed in own]
    assert "no comparison: C and B." in verdict(runs, all_pairs=True).splitlines()[0]


def test_equal_values_are_nobodys_win(run):
    """Six runs of B diverged and seven reached as much as A: B has won none."""
    task, values = {"task": "mod_addition"}, {"validation": {"all": {"accuracy": 1.0}}}

    def made(contender, seed, state="finished"):
        one = run(contender, seed, [0.0], state=state, **task)
        one.epochs[0]["evaluation"] = values
        return one

    runs = [made("A", seed) for seed in range(13)]
    runs += [made("B", seed, "non_finite" if seed < 6 else "finished") for seed in range(13)]
    (c,) = compare(runs)
    assert (c.p_value, c.verdict) == (pytest.approx(2 / 2**6), "worse")


def test_where_all_diverged_the_best_until_then_is_known(run):
    runs = [run("A", seed, [4.0, 3.9], state="non_finite") for seed in (1, 2, 3)]
    runs += [run("B", seed, [3.0], state="non_finite") for seed in (1, 2, 3)]
    (c,) = compare(runs, at="best")
    assert (c.spent, c.baseline_values, c.rival_values) == (10, (4.0,) * 3, (3.0,) * 3)


def test_what_follows_divergence_counts_for_nothing(run):
    """Whatever a run recovers to: one that stops at a number that is not finite cannot."""
    runs = [run("A", seed, [4.0, 3.9]) for seed in (1, 2, 3)]
    runs += [run("B", seed, [5.0, 1.0], diverged_at=11) for seed in (1, 2, 3)]
    (c,) = compare(runs, at="best")
    assert (c.spent, c.baseline_values, c.rival_values) == (20, (3.9,) * 3, (5.0,) * 3)
    (metric,) = runs[-1].metrics()
    assert [cost_to_target(one, metric, 3.9, "steps") for one in runs[2:4]] == [20, math.inf]
    assert baseline_target(runs, metric, "B") == 5.0


@pytest.mark.parametrize(
    ("facts", "standing", "diverged"),
    [
        ({}, "finished", False),
        ({"diverged_at": 1012}, "diverged at step 1,012", True),
        ({"state": "imported"}, "imported", False),
        ({"state": "non_finite"}, "diverged", True),
        ({"state": "non_finite", "diverged_at": 7}, "diverged at step 7", True),
        ({"state": "running", "diverged_at": 7}, "running, diverged at step 7", False),
        ({"state": "failed"}, "failed", False),
    ],
)
def test_how_a_run_stands(run, facts, standing, diverged):
    one = run("A", 1, [4.0], **facts)
    assert (one.standing, one.diverged) == (standing, diverged)
    assert one.whole == (standing in ("finished", "imported"))


def test_the_verdict_names_the_runs_that_diverged(run):
    runs = [run("A", seed, [4.0]) for seed in (1, 2, 3)]
    runs += [run("B", 1, [5.0], diverged_at=812), run("B", 2, [5.0], state="non_finite"), run("B", 3, [5.0])]
    assert verdict(runs).splitlines()[-1] == (
        "B-1 diverged at step 812 and B-2 diverged; a diverged run ranks below every run that "
        "did not diverge."
    )
    assert "diverged" not in verdict(
        runs[:3] + [replace(one, state="finished", diverged_at=None) for one in runs[3:]]
    )


def test_a_seed_that_is_not_compared_hides_nothing(run):
    runs = [run(name, seed, [4.0 + seed / 10]) for name in "AB" for seed in (1, 2, 3)]
    runs.append(run("A", 4, [4.0], passes_each=None))
    (c,) = compare(runs, budget="passes")
    assert c.seeds == (1, 2, 3)


def test_a_run_that_diverged_early_ends_nobody_elses_budget(run, contender):
    early = [run("B", seed, [5.0], diverged_at=11) for seed in (1, 2)]
    early.append(run("B", 3, [5.0], state="non_finite"))
    (c,) = compare(contender("A", [4.0, 4.1, 4.2]) + early)
    assert c.spent == 20
    assert c.baseline_values == (4.0, 4.1, 4.2)
    assert all(map(math.isnan, c.rival_values))


def test_unfinished_runs_are_left_out_and_named(contender, run):
    runs = contender("A", [4.0, 4.1, 4.2]) + contender("B", [3.0, 3.2, 3.1])
    runs.append(run("A", 4, [4.0, 4.0]))
    runs.append(run("B", 4, [9.0], state="interrupted"))
    (c,) = compare(runs)
    assert c.seeds == (1, 2, 3)
    assert verdict(runs).splitlines()[-1] == "Left out because they are unfinished: B-4."


def test_wrong_input(run, contender):
    runs = contender("A", [4.0]) + contender("B", [4.0])
    with pytest.raises(UserError, match="no contender is called 'C'"):
        compare(runs, baseline="C")
    with pytest.raises(UserError, match="different tasks"):
        compare([*runs, run("C", 1, [1.0], task="mod_addition")])
    with pytest.raises(UserError, match="both A with seed 1"):
        compare([*runs, run("A", 1, [3.0], name="again")])
    assert compare([*contender("A", [4.0]), run("B", 2, [4.0])]) == []
    assert compare([*contender("A", [4.0]), run("B", None, [4.0])]) == []
