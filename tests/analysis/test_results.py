"""Costs of a target, performance profiles and learning curves, against values counted by hand."""

from __future__ import annotations

import math

import pytest

from arsbench.analysis import band, baseline_target, cost_to_target, performance_profile
from arsbench.errors import UserError
from arsbench.metrics import METRICS

LOSS = METRICS["wikitext2_line"][0]


def test_cost_to_a_target(run):
    one = run("A", 1, [5.0, 4.0, 4.5, 3.0], passes_each=12, seconds_each=2.5)
    costs = [cost_to_target(one, LOSS, 4.2, budget) for budget in ("steps", "passes", "seconds")]
    assert costs == [20, 24, 5.0]
    assert cost_to_target(one, LOSS, 4.0, "steps") == 20  # as good is enough
    assert cost_to_target(one, LOSS, 2.9, "steps") == math.inf
    assert cost_to_target(run("A", 1, [math.nan, 4.0]), LOSS, 5.0, "steps") == 20
    without = run("A", 1, [5.0, 4.0], passes_each=None)
    assert cost_to_target(without, LOSS, 4.0, "passes") is None
    assert cost_to_target(without, LOSS, 1.0, "passes") == math.inf


def test_the_baselines_best_is_its_median_run(run):
    runs = [run("A", s, [5.0, best, 4.9]) for s, best in enumerate([4.1, 4.3, 4.2])]
    assert baseline_target([*runs, run("B", 1, [1.0])], LOSS, "A") == 4.2
    assert baseline_target(runs[:2], LOSS, "A") == 4.3  # both reach it
    assert baseline_target([runs[0], run("A", 9, [math.nan])], LOSS, "A") == 4.1
    assert baseline_target([runs[0], run("A", 9, [9.0], state="interrupted")], LOSS, "A") == 4.1
    assert baseline_target([run("A", 9, [9.0], state="interrupted")], LOSS, "A") == 9.0
    with pytest.raises(UserError, match="no values"):
        baseline_target([run("A", 9, [math.nan], state="non_finite")], LOSS, "A")
    with pytest.raises(UserError, match="no values"):
        baseline_target(runs, LOSS, "B")


def test_a_performance_profile():
    """Of Dolan and Moré's definition by hand: cheapest are 1, 2 and 5; the last problem is unsolved by B."""
    found = performance_profile({"A": [1.0, 4.0, 5.0], "B": [2.0, 2.0, math.inf]})
    assert [found["A"].share(r) for r in (0.9, 1, 1.9, 2, 100)] == pytest.approx([0, 2 / 3, 2 / 3, 1, 1])
    assert [found["B"].share(r) for r in (1, 1.9, 2, 1e9)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert found["A"].ratios == (1.0, 2.0)


def test_a_problem_that_nobody_solved_counts_for_nobody():
    found = performance_profile({"A": [1.0, math.inf], "B": [math.inf, math.inf]})
    assert (found["A"].shares, found["B"].shares) == ((0.5,), (0.0,))


@pytest.mark.parametrize(
    "costs", [{}, {"A": []}, {"A": [1.0], "B": [1.0, 2.0]}, {"A": [0.0]}, {"A": [math.nan]}]
)
def test_costs_that_make_no_profile(costs):
    with pytest.raises(ValueError, match="cost"):
        performance_profile(costs)


def test_a_band(run):
    runs = [
        run("A", 1, [5.0, 4.0], seconds_each=2),
        run("A", 2, [5.2, 4.4], seconds_each=3),
        run("A", 3, [5.1, 4.1], seconds_each=10),
    ]
    found = band(runs, LOSS, "seconds")
    assert found.x == (3, 6)
    assert found.median == (5.1, 4.1)
    assert (found.low, found.high) == ((5.0, 4.0), (5.2, 4.4))
    assert band([], LOSS, "steps").x == ()


def test_a_band_of_runs_evaluated_at_other_steps(run):
    """One every ten steps, one every thirty: at 10 and 20 the second is on its line."""
    runs = [run("A", 1, [5.0, 4.0, 3.0]), run("A", 2, [6.0, 3.0], steps_each=30)]
    found = band([*runs, run("A", 3, [5.0, math.nan, 9.0])], LOSS, "steps")
    assert found.x == (10, 20, 30, 60)
    assert (found.low, found.high[0], found.high[3]) == ((5.0, 4.0, 3.0, 3.0), 5.0, 3.0)
    assert math.isnan(found.high[1])
    slow = run("A", 1, [5.0, 4.0], seconds_each=50)
    fast = run("A", 2, [5.0, 4.0, 3.0, 2.0], seconds_each=10)
    assert band([slow, fast], LOSS, "seconds").x == (10, 20, 30, 40, 50, 100)


def test_a_band_with_ends_and_divergence(run):
    runs = [run("A", 1, [5.0, 4.0, 3.0]), run("A", 2, [5.2, math.nan]), run("A", 3, [5.4, 4.5])]
    found = band(runs, LOSS, "steps")
    assert found.x == (10, 20, 30)
    assert (found.median, found.low) == ((5.2, 4.5, 3.0), (5.0, 4.0, 3.0))
    assert (found.high[0], found.high[2]) == (5.4, 3.0)
    assert math.isnan(found.high[1])
