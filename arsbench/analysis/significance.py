"""Tests of paired differences, and how many seeds they need.

Sources: Student, "The probable error of a mean" (1908); Fisher, "The Design of Experiments" (1935), section
21, for the permutation of signs; Holm, "A simple sequentially rejective multiple test procedure" (1979);
Cohen, "Statistical Power Analysis for the Behavioral Sciences" (1988), section 2.3, for d_z.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

# Of fewer differences no spread can be judged, and hence no verdict given.
FEWEST_SEEDS = 3
POWER = 0.8
# More would not be run by anybody.
_MOST_SEEDS = 10_000
# Signs are permuted exhaustively up to 16 seeds, and beyond them as often at random.
_PERMUTATIONS = 2**16

# Differences closer together than this share of their mean are one value, of rounded figures or of counts.
_ROUNDING = 1e-9

T_TEST, PERMUTATION_TEST, SIGN_TEST = "paired t-test", "exact permutation test", "exact sign test"
RANDOM_PERMUTATION_TEST = "random permutation test"


def p_value(differences: Sequence[float], *, comparisons: int = 1, level: float = 0.05) -> tuple[str, float]:
    """Test whether paired differences have a mean other than zero, two-sided.

    Signs are permuted, which assumes nothing but that differences are as likely to be negative as positive
    under the null hypothesis, where the smallest p that this can give, 2/2ⁿ, is at most level / comparisons;
    else it is Student's t-test. Numbers of seeds and comparisons alone decide, never the values: choosing the
    kinder test of two would raise false alarms. The stricter one may be chosen by them: differences that are
    all the same, as of rounded figures or of counts, have no spread for a t-test to go by, and p is that of
    the permutation. Where a difference is infinite, because a run diverged, only signs are left.

    Args:
        differences: at least `FEWEST_SEEDS`; infinite where one of two runs diverged, NaN where both did.
        comparisons: how many are made together.
        level: the probability of a false alarm in any of them.

    Returns:
        the test's name and p.
    """
    from scipy import stats

    n = len(differences)
    if not all(map(math.isfinite, differences)):
        signs = [difference > 0 for difference in differences if not math.isnan(difference) and difference]
        return SIGN_TEST, float(stats.binomtest(sum(signs), len(signs)).pvalue) if signs else 1.0
    if 2.0 ** (1 - n) <= level / comparisons:
        result = stats.permutation_test(
            (differences,),
            lambda x, axis: x.mean(axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=_PERMUTATIONS,
            rng=0,
        )
        exact = 2**n <= _PERMUTATIONS
        return PERMUTATION_TEST if exact else RANDOM_PERMUTATION_TEST, float(result.pvalue)
    mean, error = _mean_and_error(differences)
    if error <= _ROUNDING * abs(mean):
        return (PERMUTATION_TEST, 2.0 ** (1 - n)) if mean else (T_TEST, 1.0)
    return T_TEST, 2 * float(stats.t.sf(abs(mean) / error, n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that the smallest true one decides at the level of all."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def interval(differences: Sequence[float], level: float = 0.05) -> tuple[float, float] | None:
    """Student's confidence interval of the mean difference, not corrected for other comparisons.

    Returns:
        its ends; None of fewer than two differences, or where one is not finite.
    """
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    from scipy import stats

    mean, error = _mean_and_error(differences)
    margin = float(stats.t.ppf(1 - level / 2, len(differences) - 1)) * error
    return mean - margin, mean + margin


def effect_size(differences: Sequence[float]) -> float | None:
    """Cohen's d_z, the mean difference in units of the differences' standard deviation; None without any."""
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    return mean / spread if spread > _ROUNDING * abs(mean) else None


def seeds_needed(
    differences: Sequence[float],
    difference: float | None = None,
    *,
    level: float = 0.05,
    power: float = POWER,
) -> int | None:
    """How many seeds would show a difference, at the spread that was observed.

    Args:
        differences: the observed ones, two at least.
        difference: what is to be seen; by default their mean.
        level: the probability of a false alarm that the test is to keep, already divided by the number of
            comparisons where there are several.
        power: the probability with which it is to be seen.

    Returns:
        by the noncentral t distribution, `FEWEST_SEEDS` at least; None where the spread is not known, the
        difference is zero, or more than 10,000 would be needed.
    """
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    wanted = statistics.fmean(differences) if difference is None else difference
    spread = statistics.stdev(differences)
    if wanted == 0:
        return None
    if spread <= _ROUNDING * abs(wanted):
        return max(FEWEST_SEEDS, 1 + math.ceil(math.log2(1 / level)))  # as many as permutations of signs need
    low, high = FEWEST_SEEDS - 1, _MOST_SEEDS
    if _power(high, abs(wanted) / spread, level) < power:
        return None
    while high - low > 1:  # power grows with seeds
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, abs(wanted) / spread, level) >= power else (middle, high)
    return high


def _mean_and_error(differences: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error."""
    return statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(len(differences))


def _power(n: int, effect: float, level: float) -> float:
    """Of the two-sided t-test of n differences whose mean is `effect` standard deviations."""
    from scipy import stats

    critical = stats.t.ppf(1 - level / 2, n - 1)
    # The other tail's share is below a thousandth wherever the power is of any use.
    return float(stats.nct.sf(critical, n - 1, effect * math.sqrt(n)))
