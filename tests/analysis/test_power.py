"""Seeds needed, against tables and against simulated tests."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from arsbench.analysis.power import seeds_needed
from arsbench.analysis.significance import p_value

SIMULATED = 1000


def differences(effect: float) -> list[float]:
    """With just that mean, and a standard deviation of one."""
    drawn = stats.norm.ppf((np.arange(100) + 0.5) / 100)
    return (drawn / statistics.stdev(drawn.tolist()) + effect).tolist()


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
    assert seeds_needed([math.inf, 1.0, 2.0]) is None


def test_without_a_spread_signs_decide() -> None:
    assert seeds_needed([1.0, 1.0]) == seeds_needed([0.1 + 0.2, 0.3]) == 6  # 2 / 2⁶ is below 5 %
    assert seeds_needed([1.0, 1.0], level=0.05 / 7) == 9
    assert seeds_needed([1.0, 1.0], fewest=8) == 8
    assert seeds_needed([1.0, 1.0 + 1e-8, 1.0 - 1e-8]) == 3  # next to none is some


def test_cohens_tables() -> None:
    """Two-sided at 0.05, power 0.8: 10 for one standard deviation, 34 for a half, 199 for a fifth."""
    assert [seeds_needed(differences(d), test="t") for d in (1.0, 0.5, 0.2)] == [10, 34, 199]
    assert [seeds_needed(differences(d)) for d in (1.0, 0.5, 0.2)] == [10, 34, 199]


def test_no_fewer_than_asked_for() -> None:
    assert [seeds_needed(differences(1.0), fewest=n) for n in (9, 10, 11, 40)] == [10, 10, 11, 40]


def test_a_permutation_of_few_signs_needs_more_seeds() -> None:
    """Of fewer than six no sum is rare enough, of six only that of equal signs: 0.93⁶ is 66 %."""
    assert seeds_needed(differences(1.5)) == 6
    assert seeds_needed(differences(1.5), test="permutation") == 7
    assert seeds_needed(differences(5.0), test="permutation") == 6
    # Among 84 comparisons twelve are too few for the permutation, and eleven enough for the t-test.
    assert seeds_needed(differences(1.9), level=0.05 / 84) == 11
    assert seeds_needed(differences(1.9), level=0.05 / 84, fewest=12) == 13


@pytest.mark.parametrize(
    ("effect", "comparisons", "test"),
    [
        *((2.0, 1, "auto"), (1.5, 1, "auto"), (0.9, 1, "auto"), (1.5, 3, "auto"), (1.2, 3, "auto")),
        *((1.5, 21, "auto"), (1.9, 84, "auto"), (1.5, 1, "permutation"), (1.5, 3, "permutation")),
    ],
)
def test_as_many_seeds_as_advised_have_the_power(effect: float, comparisons: int, test: str) -> None:
    """And one fewer have not."""
    level = 0.05 / comparisons
    needed = seeds_needed(differences(effect), level=level, test=test)

    def found(n: int) -> float:
        drawn = np.random.default_rng(n).normal(effect, 1.0, (SIMULATED, n)).tolist()
        return statistics.fmean(p_value(own, test=test)[1] <= level for own in drawn)

    # Within three standard errors.
    assert found(needed) >= 0.8 - 0.038
    assert found(needed - 1) <= 0.8 + 0.038
