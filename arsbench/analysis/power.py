"""How many seeds a test needs to show a difference."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence

from arsbench.analysis.significance import (
    FEWEST_SEEDS,
    MOST_EXHAUSTIVE,
    ROUNDING,
    permutation_p,
    permutes,
)

POWER = 0.8
# More would not be run by anybody.
_MOST_SEEDS = 10_000
# Simulated tests, whose share of rejections has a standard error of 1.3 % at a power of 80 %; so many at a
# time that their sums take 26 MB at most.
_SIMULATED, _AT_A_TIME = 1000, 100


def seeds_needed(
    differences: Sequence[float],
    difference: float | None = None,
    *,
    level: float = 0.05,
    power: float = POWER,
    test: str = "auto",
    fewest: int = FEWEST_SEEDS,
) -> int | None:
    """How many seeds would show a difference, at the spread that was observed.

    The power is that of the test that as many seeds get (see `significance.p_value`) on normally distributed
    differences: of the t-test by the noncentral t distribution, of the exact permutation by simulation. The
    random permutation of more seeds is as powerful as the t-test.

    Args:
        differences: the observed ones, two at least.
        difference: what is to be seen; by default their mean.
        level: the probability of a false alarm that the test is to keep, already divided by the number of
            comparisons where there are several.
        power: the probability with which it is to be seen.
        test: one of `significance.TESTS`.
        fewest: the smallest answer.

    Returns:
        the smallest number from `fewest` on; None where the spread is not known, the difference is zero, or
        more than 10,000 would be needed.
    """
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    wanted = statistics.fmean(differences) if difference is None else difference
    spread = statistics.stdev(differences)
    if wanted == 0:
        return None
    if spread <= ROUNDING * abs(wanted):
        return max(fewest, 1 + math.ceil(math.log2(1 / level)))  # as many as permutations of signs need
    effect = abs(wanted) / spread
    needed = _by_t_power(effect, level, power, fewest)
    # Of normal differences no test finds more than the t-test, so the permutation needs at least as many.
    while needed is not None and needed <= MOST_EXHAUSTIVE and permutes(needed, test):
        if _permutation_power(needed, effect, level) >= power:
            break
        needed += 1
    return needed


def _by_t_power(effect: float, level: float, power: float, fewest: int) -> int | None:
    """The smallest number from `fewest` on with which the t-test has the power."""
    low, high = fewest - 1, fewest
    # Power grows with seeds. Upwards, since SciPy's is NaN where there are many and the effect is vast.
    while _t_power(high, effect, level) < power:
        if high >= _MOST_SEEDS:
            return None
        low, high = high, min(2 * high, _MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _t_power(middle, effect, level) >= power else (middle, high)
    return high


def _t_power(n: int, effect: float, level: float) -> float:
    """Of the two-sided t-test."""
    from scipy import stats

    critical = stats.t.ppf(1 - level / 2, n - 1)
    # The other tail's share is below a thousandth wherever the power is of any use.
    return float(stats.nct.sf(critical, n - 1, effect * math.sqrt(n)))


@functools.lru_cache(maxsize=1024)
def _permutation_power(n: int, effect: float, level: float) -> float:
    """Of the exact permutation test, simulated; the same arguments give the same figure."""
    import numpy as np

    if 2.0 ** (1 - n) > level:
        return 0.0
    random = np.random.default_rng(0)
    batches = (random.normal(effect, 1.0, (_AT_A_TIME, n)) for _ in range(_SIMULATED // _AT_A_TIME))
    return float(np.mean([permutation_p(batch) <= level for batch in batches]))
