"""Comparisons of runs: what is paired, at which budget, and what the verdict is."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from arsbench.analysis import BUDGETS, baseline_target, compare, cost_to_target, seeds_needed, verdict
from arsbench.errors import UserError
from arsbench.metrics import METRICS

LOSS = METRICS["wikitext2_line"][0]
SIMULATED = 1000


@pytest.fixture
def contender(run):
    """`contender(name, last, first=5.0, **changes)`: a run for each last value, seeds 1, 2, …"""

    def make(name, last, first=5.0, **changes):
        return [run(name, seed, [first, value], **changes) for seed, value in enumerate(last, start=1)]

    return make


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


def test_an_equal_budget_of_passes(run):
    """B's steps take two passes: at 40 passes it has done two epochs, and A four."""
    runs = [run("A", seed, [5.0, 4.8, 4.6, 4.4], passes_each=10) for seed in (1, 2, 3)]
    runs += [run("B", s, [4.9, 4.5 + s * s / 100, 4.3, 4.1 + s * s / 100], passes_each=20) for s in (1, 2, 3)]
    (steps,), (passes,) = compare(runs), compare(runs, budget="passes")
    assert (steps.spent, steps.verdict, steps.rival_values) == (
        40,
        "better",
        pytest.approx((4.11, 4.14, 4.19)),
    )
    assert (passes.spent, passes.verdict, passes.rival_values) == (40, "worse", (4.51, 4.54, 4.59))
    text = verdict(runs).splitlines()
    assert text[0] == "B is better than A at equal steps and seconds. B is worse than A at equal passes."
    assert text[1] == (
        "At equal steps (40 optimizer steps): better than A: B (-0.2533, 95 % CI -0.3537 to -0.1529, "
        "d_z = -6.27, p = 0.025)."
    )
    assert text[2].startswith(
        "At equal passes (40 forward-backward passes): worse than A: B (+0.1467, 95 % CI"
    )
    assert text[4] == (
        "Metric: validation loss (strict, nats per target); lower is better. Runs are paired by seed (3 "
        "seeds in common). Significance: paired t-test at the 5 % level, Holm-corrected for 3 comparisons. "
        "In parentheses: mean difference, confidence interval (CI), Cohen's d_z, Holm-corrected p."
    )


def test_budgets_of_a_few_seconds_are_shown_with_tenths(run):
    runs = [run(name, 1, [5.0, 4.8], seconds_each=each) for name, each in (("A", 1.25), ("B", 1.0), ("C", 2))]
    assert "At equal seconds (2 to 2.5 seconds of training)" in verdict(runs)
    runs = [run(name, 1, [5.0, 4.8], seconds_each=each) for name, each in (("A", 500.1), ("B", 500.2))]
    assert "At equal seconds (1,000 seconds of training)" in verdict(runs)


def test_values_between_evaluations_are_interpolated(run):
    """B is evaluated after 30 and 60 passes: A's end at 40 is a third of the way."""
    runs = [run("A", 1, [5.0, 4.8, 4.6, 4.4], passes_each=10), run("B", 1, [4.7, 4.1], passes_each=30)]
    (c,) = compare(runs, budget="passes")
    assert (c.spent, c.baseline_values) == (40, (4.4,))
    assert c.rival_values == pytest.approx((4.5,))
    assert c.gap == 30 / 40
    assert "At equal passes, values are interpolated between evaluations up to 75 %" in verdict(runs)
    assert "At equal steps, values" not in verdict(runs)


def within_epochs(every, values, steps=100):
    """Records of evaluations after so many steps each, of epochs of so many."""
    return [
        {
            "epoch": (step - 1) // steps + 1,
            "step": step,
            "forward_backward_passes": (step - 1) % steps + 1,
            "epoch_seconds": 0.1 * ((step - 1) % steps + 1),
            "evaluation": {"validation": {"strict": {"loss": values(step)}}},
        }
        for step in range(every, 2 * steps, every)
        if step % steps
    ]


def test_no_verdict_is_based_on_evaluations_far_apart(run):
    """B takes 1.3 times as long for the same losses by seconds, and would be held to the curve's chord."""

    def runs(name, slower, every=None):
        def loss(seed):
            return lambda step: 4.0 + 2.0 * math.exp(-slower * step / 60) + 0.001 * (seed**2 + (name == "B"))

        return [
            run(
                *(name, seed, [loss(seed)(100), loss(seed)(200)]),
                **{"steps_each": 100, "passes_each": 100, "seconds_each": 10.0 * slower},
                evaluations=[
                    record | {"epoch_seconds": slower * record["epoch_seconds"]}
                    for record in (within_epochs(every, loss(seed)) if every else ())
                ],
            )
            for seed in (1, 2, 3)
        ]

    coarse = runs("A", 1.0) + runs("B", 1.3)
    (c,) = compare(coarse, budget="seconds")
    assert (c.verdict, c.test, c.p_value, c.p_adjusted, c.seeds_needed) == (
        "unreachable",
        "",
        None,
        None,
        None,
    )
    assert (c.gap, c.spent) == (pytest.approx(0.65), 20)
    # A hundred steps are 65 % of the budget: fifteen a tenth.
    assert c.eval_every_steps == 15
    text = verdict(coarse).splitlines()
    assert text[3] == (
        "At equal seconds (20 seconds of training): no verdict, because evaluations are up to 65 % of the "
        "budget apart and interpolation over more than a third of it misleads "
        f"(train.eval_every_steps = 15 allows one): B (difference {c.difference:+.4f})."
    )
    assert "at equal steps and passes" in text[0]
    assert "Holm-corrected for 2 comparisons" in "".join(text)
    assert "values are interpolated" not in "".join(text)
    assert compare(coarse, budget="seconds", at="best")[0].verdict == "unreachable"
    (c,) = compare(runs("A", 1.0, 15) + runs("B", 1.3, 15), budget="seconds")
    assert c.gap <= 0.1
    assert c.verdict != "unreachable"
    assert c.eval_every_steps is None


def test_without_steps_the_advice_is_a_smaller_eval_every_steps(run):
    runs = [run("A", s, [5.0, 4.0 + s * s / 100], steps_each=None) for s in (1, 2, 3)]
    runs += [run("B", s, [5.0, 4.0], steps_each=None, seconds_each=14.0) for s in (1, 2, 3)]
    (c,) = compare(runs, budget="seconds")
    assert (c.verdict, c.eval_every_steps) == ("unreachable", None)
    assert "(a smaller train.eval_every_steps allows one)" in verdict(runs)


def test_a_third_of_the_budget_is_near_enough(run):
    """B is evaluated after 9, 18, 27 and 36 seconds: 30 lies between two that are 9 apart."""
    runs = [run("A", s, [5.0, 4.5, 4.0 + s * s / 100]) for s in (1, 2, 3)]
    runs += [run("B", s, [5.0, 4.5, 4.2, 4.1], seconds_each=9.0) for s in (1, 2, 3)]
    (c,) = compare(runs, budget="seconds")
    assert (c.gap, c.verdict) == (0.3, "worse")
    assert "values are interpolated between evaluations up to 30 % of the budget apart" in verdict(runs)


@pytest.fixture
def five_epochs(run):
    """`five_epochs(name, lower=0.0, ends={}, **changes)`: four seeds, of five epochs or as `ends` has it."""

    def make(name, lower=0.0, ends=None, **changes):
        values = {
            seed: [5.0, 4.6, 4.3, 4.1, 4.0 + 0.01 * seed - lower * (1 + seed / 10)] for seed in range(1, 5)
        }
        return [run(name, s, v[: (ends or {}).get(s, 5)], **changes) for s, v in values.items()]

    return make


def test_a_seed_that_ended_early_holds_nobody_to_its_budget(five_epochs):
    runs = five_epochs("A", ends={3: 1}) + five_epochs("B", lower=0.2, passes_each=20)
    (c,) = compare(runs)
    assert (c.spent, c.seeds, c.left_out, c.verdict) == (50, (1, 2, 4), ("A-3",), "better")
    (c,) = compare(runs, budget="passes")
    assert (c.spent, c.seeds, c.left_out) == (50, (1, 2, 4), ("A-3",))
    assert verdict(runs).splitlines()[-1] == (
        "Left out at equal steps, passes and seconds for ending before half of the budget that the other "
        "runs share: A-3. The cost to a target still includes it."
    )
    both = five_epochs("A", ends={3: 1}) + five_epochs("B", ends={1: 2})
    assert (
        verdict(both)
        .splitlines()[-1]
        .endswith("runs share: A-3 and B-1. The cost to a target still includes them.")
    )
    assert "Left out" not in verdict(five_epochs("A", ends={3: 3}) + five_epochs("B"))


def test_a_contender_that_reaches_its_target_early_sets_the_budget(five_epochs):
    """As with `train.stop_at`: B ends after one epoch or two, and is compared with A there."""
    target = {"config": {"train": {"stop_at": 4.6}}}
    early = five_epochs("B", ends={1: 1, 2: 2, 3: 1, 4: 2}, **target)
    (c,) = compare(five_epochs("A") + early)
    assert (c.spent, c.seeds, c.left_out) == (10, (1, 2, 3, 4), ())
    # One seed of A is as early, but it is not what holds the others to that budget.
    (c,) = compare(five_epochs("A", ends={2: 1}) + early)
    assert (c.spent, c.seeds, c.left_out) == (10, (1, 2, 3, 4), ())
    assert "Left out" not in verdict(five_epochs("A", ends={2: 1}) + early)
    # Of half of a contender's runs nobody can say which are the early ones.
    (c,) = compare(five_epochs("A", ends={1: 1, 2: 1}) + five_epochs("B"))
    assert (c.spent, c.left_out) == (10, ())


def test_evaluations_within_epochs_count(run):
    within = [
        {
            "epoch": epoch,
            "step": 10 * epoch - 5,
            "forward_backward_passes": 6,
            "epoch_seconds": 4.5,
            "evaluation_seconds": 0.5,
            "evaluation": {"validation": {"strict": {"loss": value}}},
        }
        for epoch, value in ((1, 4.5), (2, 4.2))
    ]
    fine = run("A", 1, [4.3, 4.1], evaluations=within)
    assert [(p.steps, p.passes, p.seconds, p.value) for p in fine.history(LOSS)] == [
        *((5, 6, 4.0, 4.5), (10, 10, 10, 4.3)),
        *((15, 16, 14.0, 4.2), (20, 20, 20, 4.1)),
    ]
    running = run("A", 1, [4.3], evaluations=within)
    assert [p.steps for p in running.history(LOSS)] == [5, 10, 15]
    (c,) = compare([fine, run("B", 1, [3.9], passes_each=16)], budget="passes")
    assert (c.spent, c.baseline_values) == (16, (4.2,))


def test_runs_that_cannot_be_held_to_one_budget(run):
    slow = [run("A", 1, [4.0, 3.9]), run("B", 1, [3.0], seconds_each=100)]
    assert compare(slow, budget="seconds") == []
    assert "At equal seconds: no comparison" in verdict(slow)
    without = [run("A", 1, [4.0]), run("B", 1, [3.0], passes_each=None)]
    assert compare(without, budget="passes") == []
    assert len(compare(without)) == 1


def test_the_best_within_the_budget(run):
    runs = [run("A", 1, [4.0, 3.5, 3.9]), run("B", 1, [3.8, 3.6, 3.7, 3.0])]  # B's end is too late
    (final,), (best,) = compare(runs), compare(runs, at="best")
    assert (final.baseline_values, final.rival_values) == ((3.9,), (3.7,))
    assert (best.baseline_values, best.rival_values) == ((3.5,), (3.6,))


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


@pytest.mark.parametrize(("seeds", "rivals"), [(3, 1), (6, 1), (5, 3)])
def test_false_alarms_where_nothing_differs(run, seeds, rivals):
    """Contenders that are all the same, but for chance and what their steps cost, by any budget."""
    random, alarms = np.random.default_rng(), 0
    for _ in range(SIMULATED // 4 // rivals):
        common = random.normal(4.0, 0.1, (seeds, 1))
        runs = [
            run(f"{i}", seed, values, passes_each=10 + 3 * i, seconds_each=10.0 + 2 * i)
            for i in range(1 + rivals)
            for seed, values in enumerate((common + random.normal(0.0, 0.03, (seeds, 12))).tolist())
        ]
        alarms += any(c.verdict != "undecided" for c in compare(runs, budget=BUDGETS))
    assert alarms <= stats.binom.ppf(1 - 1e-4, SIMULATED // 4 // rivals, 0.05)


def test_rounded_figures_raise_no_more_false_alarms(run):
    """As reports have them: differences of three seeds are often all the same, and have no spread at all."""
    random, alarms = np.random.default_rng(), 0
    for _ in range(SIMULATED // 4):
        drawn = random.normal(4.0, 0.007, (9, 3)).round(2)
        runs = [run(f"{i}", s, [v]) for i, own in enumerate(drawn.tolist()) for s, v in enumerate(own)]
        alarms += any(c.verdict != "undecided" for c in compare(runs))
    assert alarms <= stats.binom.ppf(1 - 1e-4, SIMULATED // 4, 0.05)


def test_a_planted_difference_is_found_the_more_seeds_the_surer(run):
    random, found = np.random.default_rng(), {}
    for seeds in (3, 5, 8):
        verdicts = []
        for _ in range(100):
            common = random.normal(4.0, 0.1, seeds)
            ours, theirs = common + random.normal(0.0, 0.02, (2, seeds)) - np.array([[0.0], [0.04]])
            runs = [
                run(name, s, [v])
                for name, own in (("A", ours.tolist()), ("B", theirs.tolist()))
                for s, v in enumerate(own)
            ]
            verdicts.append(compare(runs)[0].verdict)
        assert "worse" not in verdicts or seeds == 3
        found[seeds] = statistics.fmean(v == "better" for v in verdicts)
    assert found[3] < found[5] < found[8]
    assert found[8] > 0.8
