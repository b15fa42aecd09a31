"""The number of seeds that a test needs to show a difference."""

from __future__ import annotations

import bisect
import functools
import math
import statistics
from collections.abc import Sequence

from arsbench.analysis.significance import FEWEST_SEEDS, MOST_EXHAUSTIVE, ROUNDING, permutation_p, permutes

POWER = 0.8
# Larger numbers are of no practical use.
_MOST_SEEDS = 10_000
# The number of simulated tests, for a standard error of 1.3 % at a power of 80 %, and of those made at a
# time, for sums of 26 MB at most.
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
    """The number of seeds that would show a difference, at the observed spread.

    The power is that of the test for this number of seeds (see `significance.p_value`) on normally
    distributed differences: the t-test's by the noncentral t distribution, the exact permutation test's by
    simulation. The random permutation test, with more seeds, has the power of the t-test.

    Args:
        differences: the observed ones, at least two.
        difference: the difference to show; by default their mean.
        level: the probability of a false positive, already divided by the number of comparisons.
        power: the probability of showing the difference.
        test: one of `significance.TESTS`.
        fewest: the smallest number to return.

    Returns:
        the smallest number from `fewest` on; None where the spread is unknown, the difference is zero, or
        more than 10,000 seeds are needed.
    """
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    wanted = statistics.fmean(differences) if difference is None else difference
    spread = statistics.stdev(differences)
    if wanted == 0:
        return None
    if spread <= ROUNDING * abs(wanted):
        return max(fewest, 1 + math.ceil(math.log2(1 / level)))  # what a permutation test needs
    effect = abs(wanted) / spread
    numbers = range(fewest, _MOST_SEEDS + 1)
    # SciPy's power is NaN for many seeds and huge effects, which the search takes for large, as it is.
    index = bisect.bisect_left(numbers, power, key=lambda n: _t_power(n, effect, level))
    if index == len(numbers):
        return None
    needed = numbers[index]
    # On normal differences no test has more power than the t-test: the permutation test needs no fewer seeds.
    while needed <= MOST_EXHAUSTIVE and permutes(needed, test):
        if _permutation_power(needed, effect, level) >= power:
            break
        needed += 1
    return needed


def _t_power(n: int, effect: float, level: float) -> float:
    """The power of the two-sided t-test."""
    from scipy import special, stats

    critical = special.stdtrit(n - 1, 1 - level / 2)  # stats.t.ppf, without its checks
    # The other tail contributes less than a thousandth at any useful power.
    return float(stats.nct.sf(critical, n - 1, effect * math.sqrt(n)))


@functools.lru_cache(maxsize=1024)
def _permutation_power(n: int, effect: float, level: float) -> float:
    """The power of the exact permutation test, simulated; the same arguments give the same value."""
    import numpy as np

    if 2.0 ** (1 - n) > level:
        return 0.0
    random = np.random.default_rng(0)
    batches = (random.normal(effect, 1.0, (_AT_A_TIME, n)) for _ in range(_SIMULATED // _AT_A_TIME))
    return float(np.mean([permutation_p(batch) <= level for batch in batches]))
