"""Tests of differences against known answers: tables, other ways to compute them, and simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from arsbench.analysis.significance import (
    PERMUTATION_TEST,
    PERMUTED_FROM,
    RANDOM_PERMUTATION_TEST,
    SIGN_TEST,
    T_TEST,
    effect_size,
    holm,
    interval,
    p_value,
)

SIMULATED = 1000


def test_students_own_example() -> None:
    """Additional hours of sleep of ten patients, table of 1908: t = 4.06, p = 0.0028."""
    differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    test, p = p_value(differences)
    assert test == T_TEST
    assert p == pytest.approx(0.00283, abs=5e-6)
    assert interval(differences) == pytest.approx((0.7001, 2.4599), abs=5e-5)
    assert effect_size(differences) == pytest.approx(1.2846, abs=5e-5)


def enumerated(differences: list[Fraction]) -> float:
    """The share of signs that give a sum as far from zero, counted without rounding."""
    signed = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in signed]
    return sum(total >= abs(sum(differences)) for total in sums) / len(sums)


@pytest.mark.parametrize("n", [3, 6, 8, 11, 12])
def test_permutations_of_signs_are_counted_exactly(n: int) -> None:
    differences = np.random.default_rng().normal(0.3, 1.0, n).tolist()
    test, p = p_value(differences, test="permutation")
    assert test == PERMUTATION_TEST
    assert p == enumerated(list(map(Fraction, differences)))


@pytest.mark.parametrize("of", [8939, 10_000])
@pytest.mark.parametrize("n", [7, 8, 9, 10, 12])
def test_ties_count_whatever_the_last_bit(n: int, of: int) -> None:
    """Accuracies of as many targets, or losses of four decimals, whose differences are whole multiples."""
    random = np.random.default_rng(n)
    for _ in range(2 if n == 12 else 10):
        ours = random.integers(7000, 8900, n).tolist()
        theirs = [k + d for k, d in zip(ours, random.integers(-2, 5, n).tolist(), strict=True)]
        differences = [b / of - a / of for a, b in zip(ours, theirs, strict=True)]
        exact = enumerated([Fraction(b - a, of) for a, b in zip(ours, theirs, strict=True)])
        assert p_value(differences, test="permutation")[1] == exact


def test_a_tie_decides_no_verdict() -> None:
    ours = [(8045 + 7 * i) / 8939 for i in range(9)]
    theirs = [(8045 + 7 * i + x) / 8939 for i, x in enumerate([1, 2, 2, 1, 0, 3, -1, 0, 2])]
    differences = [b - a for a, b in zip(ours, theirs, strict=True)]
    assert p_value(differences, test="permutation") == (PERMUTATION_TEST, 0.0625)


def test_ties_count_among_random_signs() -> None:
    """The same signs are drawn whether differences are exact in float64 (eighths) or rounded."""
    whole = [1, 2, 2, 1, 0, 3, -1, 0, 2, -3, -2, -1, 1, 2, -3, 2, -1, 0, 1, -2]
    exact = p_value([d / 8 for d in whole])
    assert exact[0] == RANDOM_PERMUTATION_TEST
    assert p_value([(k + d) / 8939 - k / 8939 for k, d in enumerate(whole, start=8045)]) == exact


@pytest.mark.parametrize(
    ("n", "test"),
    [
        *((3, T_TEST), (6, T_TEST), (11, T_TEST)),
        *((12, PERMUTATION_TEST), (16, PERMUTATION_TEST), (17, RANDOM_PERMUTATION_TEST)),
    ],
)
def test_the_number_of_seeds_alone_chooses_the_test(n: int, test: str) -> None:
    for location in (0.0, 100.0):
        differences = np.random.default_rng().normal(location, size=n).tolist()
        assert p_value(differences)[0] == test
        assert p_value(differences, test="t")[0] == T_TEST
        assert p_value(differences, test="permutation")[0] != T_TEST


def test_differences_without_spread() -> None:
    assert p_value([0.0] * 3) == (T_TEST, 1.0)
    assert p_value([0.0] * 12) == (PERMUTATION_TEST, 1.0)
    assert p_value([0.0] * 20) == (RANDOM_PERMUTATION_TEST, 1.0)
    rounded = [5.06 - 5.05, 5.07 - 5.06, 5.11 - 5.10]  # but for the last bits
    for same in ([0.25] * 3, rounded):
        assert p_value(same) == p_value(same, test="t") == (PERMUTATION_TEST, 0.25)
        assert effect_size(same) is None
    assert p_value([0.25] * 20) == (RANDOM_PERMUTATION_TEST, pytest.approx(0.0, abs=1e-4))
    assert interval([0.25] * 3) == (0.25, 0.25)


def test_of_runs_that_diverged_only_signs_count() -> None:
    assert p_value([math.inf, 1.0, 2.0]) == (SIGN_TEST, 0.25)
    assert p_value([math.inf] * 8) == (SIGN_TEST, pytest.approx(2 / 2**8))
    assert p_value([math.nan] * 4) == (SIGN_TEST, 1.0)
    assert interval([math.inf, 1.0, 2.0]) is None
    assert effect_size([math.inf, 1.0, 2.0]) is None


def test_holm() -> None:
    """Four hypotheses: 0.01 · 4, then 0.02 · 3, then 0.03 · 2, which may not fall below the one before."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("n", "comparisons"), [(3, 1), (5, 1), (6, 1), (12, 1), (5, 7), (12, 7)])
def test_false_alarms_are_as_rare_as_the_level(n: int, comparisons: int) -> None:
    """Where nothing differs, in any of the comparisons made together."""
    random, alarms = np.random.default_rng(), 0
    for _ in range(SIMULATED):
        drawn = random.normal(size=(comparisons, n)).tolist()
        adjusted = holm([p_value(differences)[1] for differences in drawn])
        alarms += min(adjusted) <= 0.05
    # One simulation in 10,000 has more by chance.
    assert alarms <= stats.binom.ppf(1 - 1e-4, SIMULATED, 0.05)


@pytest.mark.parametrize(("n", "test"), [(7, "permutation"), (12, "auto")])
def test_false_alarms_of_skewed_differences(n: int, test: str) -> None:
    """Whatever a seed's distribution is, the difference of two alike is symmetric, and permutation exact."""
    random, alarms = np.random.default_rng(), 0
    for _ in range(SIMULATED):
        ours, theirs = random.lognormal(sigma=1.5, size=(2, n))
        alarms += p_value((ours - theirs).tolist(), test=test)[1] <= 0.05
    assert alarms <= stats.binom.ppf(1 - 1e-4, SIMULATED, 0.05)


def test_no_seed_lowers_power() -> None:
    """Nor the twelfth, with which the permutation takes over, of one comparison or of a rival's three."""
    random = np.random.default_rng(1)
    for effect, level in ((2.0, 0.05), (0.9, 0.05), (1.0, 0.05 / 3)):
        drawn = random.normal(effect, 1.0, (SIMULATED, PERMUTED_FROM))
        found = [
            np.mean([p_value(own[:n])[1] <= level for own in drawn.tolist()])
            for n in (5, 6, PERMUTED_FROM - 1, PERMUTED_FROM)
        ]
        assert found == sorted(found)
