"""The budget at which runs are compared: steps, passes or seconds that all have reached."""

from __future__ import annotations

import math

import pytest

from arsbench.analysis import compare, verdict
from arsbench.metrics import METRICS

LOSS = METRICS["wikitext2_line"][0]


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
