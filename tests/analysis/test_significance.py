"""Tests of differences against known answers: tables, other ways to compute them, and simulation."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from arsbench.analysis.significance import (
    PERMUTATION_TEST,
    RANDOM_PERMUTATION_TEST,
    SIGN_TEST,
    T_TEST,
    effect_size,
    holm,
    interval,
    p_value,
    seeds_needed,
)

SIMULATED = 1000


def test_students_own_example() -> None:
    """Additional hours of sleep of ten patients, table of 1908: t = 4.06, p = 0.0028."""
    differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    test, p = p_value(differences, comparisons=1000)
    assert test == T_TEST
    assert p == pytest.approx(0.00283, abs=5e-6)
    assert interval(differences) == pytest.approx((0.7001, 2.4599), abs=5e-5)
    assert effect_size(differences) == pytest.approx(1.2846, abs=5e-5)


@pytest.mark.parametrize("n", [6, 8, 11])
def test_permutations_of_signs_are_counted_exactly(n: int) -> None:
    differences = np.random.default_rng().normal(0.3, 1.0, n).tolist()
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=n)
    ]
    share = sum(total >= abs(sum(differences)) - 1e-12 for total in sums) / len(sums)
    test, p = p_value(differences)
    assert test == PERMUTATION_TEST
    assert p == pytest.approx(share)


@pytest.mark.parametrize(
    ("n", "comparisons", "test"),
    [(5, 1, T_TEST), (6, 1, PERMUTATION_TEST), (6, 2, T_TEST), (7, 3, PERMUTATION_TEST), (7, 4, T_TEST)],
)
def test_numbers_alone_choose_the_test(n: int, comparisons: int, test: str) -> None:
    """Permutation where 2 / 2ⁿ is at most the level that a first step of Holm's asks for."""
    for location in (0.0, 100.0):
        differences = np.random.default_rng().normal(location, size=n).tolist()
        assert p_value(differences, comparisons=comparisons)[0] == test


def test_differences_without_spread() -> None:
    assert p_value([0.0] * 3) == (T_TEST, 1.0)
    rounded = [5.06 - 5.05, 5.07 - 5.06, 5.11 - 5.10]  # but for the last bits
    for same in ([0.25] * 3, rounded):
        assert p_value(same) == (PERMUTATION_TEST, 0.25)
        assert effect_size(same) is None
    assert p_value([0.25] * 20) == (RANDOM_PERMUTATION_TEST, pytest.approx(0.0, abs=1e-4))
    assert interval([0.25] * 3) == (0.25, 0.25)


def test_of_runs_that_diverged_only_signs_count() -> None:
    assert p_value([math.inf, 1.0, 2.0]) == (SIGN_TEST, 0.25)
    assert p_value([math.inf] * 8) == (SIGN_TEST, pytest.approx(2 / 2**8))
    assert p_value([math.nan] * 4) == (SIGN_TEST, 1.0)
    assert interval([math.inf, 1.0, 2.0]) is None
    assert effect_size([math.inf, 1.0, 2.0]) is None
    assert seeds_needed([math.inf, 1.0, 2.0]) is None


def test_holm() -> None:
    """Four hypotheses: 0.01 · 4, then 0.02 · 3, then 0.03 · 2, which may not fall below the one before."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("n", "comparisons"), [(3, 1), (5, 1), (6, 1), (8, 1), (5, 7)])
def test_false_alarms_are_as_rare_as_the_level(n: int, comparisons: int) -> None:
    """Where nothing differs, in any of the comparisons made together."""
    random, alarms = np.random.default_rng(), 0
    for _ in range(SIMULATED):
        drawn = random.normal(size=(comparisons, n)).tolist()
        adjusted = holm([p_value(differences, comparisons=comparisons)[1] for differences in drawn])
        alarms += min(adjusted) <= 0.05
    # One simulation in 10,000 has more by chance.
    assert alarms <= stats.binom.ppf(1 - 1e-4, SIMULATED, 0.05)


def test_false_alarms_of_skewed_differences() -> None:
    """Whatever a seed's distribution is, the difference of two alike is symmetric, and permutation exact."""
    random, alarms = np.random.default_rng(), 0
    for _ in range(SIMULATED):
        ours, theirs = random.lognormal(sigma=1.5, size=(2, 7))
        alarms += p_value((ours - theirs).tolist())[1] <= 0.05
    assert alarms <= stats.binom.ppf(1 - 1e-4, SIMULATED, 0.05)


def test_power_grows_with_seeds_and_is_what_was_promised() -> None:
    """A planted difference of one standard deviation."""
    random = np.random.default_rng()

    def found(n: int) -> float:
        drawn = random.normal(1.0, 1.0, (SIMULATED, n)).tolist()
        # So many comparisons that it is the t-test which decides, of which the power is known.
        return statistics.fmean(p_value(own, comparisons=1000)[1] <= 0.05 for own in drawn)

    few, more, many = found(3), found(6), found(12)
    assert few < more < many
    assert many > 0.8
    # Of many differences with just that mean and spread.
    planted = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    planted = planted / statistics.stdev(planted.tolist()) + 1.0
    needed = seeds_needed(planted.tolist())
    assert needed == 10  # Cohen's tables, two-sided at 0.05, power 0.8
    assert found(needed) == pytest.approx(0.8, abs=0.06)


def test_seeds_needed() -> None:
    spread = [0.9, 1.0, 1.1, 1.05, 0.95]
    assert seeds_needed(spread) == 3
    assert seeds_needed(spread, 0.05) > seeds_needed(spread, 0.1) > 3
    assert seeds_needed(spread, -0.05) == seeds_needed(spread, 0.05)
    assert seeds_needed(spread, 0.05, level=0.01) > seeds_needed(spread, 0.05)
    assert seeds_needed(spread, 0.05, power=0.9) > seeds_needed(spread, 0.05)
    assert seeds_needed(spread, 1e-6) is None
    assert seeds_needed(spread, 0.0) is None
    assert seeds_needed([1.0]) is None
    assert seeds_needed([1.0, 1.0]) == seeds_needed([0.1 + 0.2, 0.3]) == 6  # 2 / 2⁶ is below 5 %
    assert seeds_needed([1.0, 1.0], level=0.05 / 7) == 9
