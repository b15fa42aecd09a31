"""Significance tests of paired differences.

Sources: Student, "The probable error of a mean" (1908); Fisher, "The Design of Experiments" (1935), section
21, for the permutation of signs; Holm, "A simple sequentially rejective multiple test procedure" (1979);
Cohen, "Statistical Power Analysis for the Behavioral Sciences" (1988), section 2.3, for d_z.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Fewer differences do not allow an estimate of their spread, and hence no verdict.
FEWEST_SEEDS = 3
# From this number of seeds on, the permutation test has the t-test's power; with fewer, its p is too coarse.
PERMUTED_FROM = 12
# Up to this number of seeds all sign permutations are counted; beyond it, 2¹⁶ random ones.
MOST_EXHAUSTIVE = 16

# Relative tolerance below which differences, or sums of them, are ties. A value in float64 has a relative
# error of up to 2⁻⁵³ (1e-16), so equal differences stay within the tolerance unless they are below a
# ten-millionth of the values; a tie too many can only raise p.
ROUNDING = 1e-9

# The choices of a test: by the number of seeds, or one test for any number.
TESTS = ("auto", "t", "permutation")
T_TEST, PERMUTATION_TEST, SIGN_TEST = "paired t-test", "exact permutation test", "exact sign test"
RANDOM_PERMUTATION_TEST = "random permutation test"


def permutes(seeds: int, test: str) -> bool:
    """Whether `test`, one of `TESTS`, is a permutation test for this number of seeds."""
    return test == "permutation" or (test == "auto" and seeds >= PERMUTED_FROM)


def p_value(differences: Sequence[float], *, test: str = "auto") -> tuple[str, float]:
    """Test whether paired differences have a mean other than zero, two-sided.

    The permutation test of signs only assumes that positive and negative differences are equally likely
    under the null hypothesis. Its smallest p, 2/2ⁿ, costs power with few seeds, so that Student's t-test is
    used below `PERMUTED_FROM` seeds. The number of seeds alone decides, never the values: choosing the test
    with the smaller p would raise the rate of false positives. There are two exceptions. Equal differences,
    as of rounded values or counts, have no spread for a t-test, and p is that of the permutation test.
    Infinite differences, of runs that diverged, leave only the signs: p is that of the sign test.

    Args:
        differences: at least `FEWEST_SEEDS`; infinite where one of two runs diverged, NaN where both did.
        test: "auto" for the rule above; "t" or "permutation" for one test with any number of seeds.

    Returns:
        the test's name and p.
    """
    from scipy import stats

    n = len(differences)
    if not all(map(math.isfinite, differences)):
        signs = [difference > 0 for difference in differences if not math.isnan(difference) and difference]
        return SIGN_TEST, float(stats.binomtest(sum(signs), len(signs)).pvalue) if signs else 1.0
    if permutes(n, test):
        if n > MOST_EXHAUSTIVE:
            return RANDOM_PERMUTATION_TEST, _random_permutation_p(differences)
        return PERMUTATION_TEST, float(permutation_p(differences))
    mean, error = _mean_and_error(differences)
    if error <= ROUNDING * abs(mean):
        return (PERMUTATION_TEST, 2.0 ** (1 - n)) if mean else (T_TEST, 1.0)
    return T_TEST, 2 * float(stats.t.sf(abs(mean) / error, n - 1))


def permutation_p(differences: Sequence[float] | np.ndarray) -> np.ndarray:
    """The share of all 2ⁿ choices of signs whose sum is at least as far from zero as the observed one.

    Args:
        differences: (..., n), float64; the last axis holds the differences of one test. Each test needs
            memory for 2ⁿ⁻¹ sums.

    Returns:
        the p-values, (...), float64.
    """
    import numpy as np

    values = np.asarray(differences, dtype=np.float64)
    n = values.shape[-1]
    # (n, 2ⁿ⁻¹). Flipping all signs keeps the distance from zero, so the last sign is fixed.
    signs = 1.0 - 2.0 * (np.arange(2 ** (n - 1)) >> np.arange(n)[:, None] & 1)
    tolerance = ROUNDING * np.abs(values).sum(axis=-1, keepdims=True)
    observed = np.abs(values.sum(axis=-1, keepdims=True))
    return (np.abs(values @ signs) >= observed - tolerance).mean(axis=-1)


def _random_permutation_p(differences: Sequence[float]) -> float:
    """The same for signs drawn at random; the observed signs count as one more draw."""
    import numpy as np
    from scipy import stats

    mean = statistics.fmean(differences)
    tolerance = ROUNDING * statistics.fmean(map(abs, differences))

    def mean_with_ties(x: np.ndarray, axis: int) -> np.ndarray:
        means = x.mean(axis=axis)
        return np.where(np.abs(np.abs(means) - abs(mean)) <= tolerance, np.copysign(mean, means), means)

    result = stats.permutation_test(
        (differences,),
        mean_with_ties,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**MOST_EXHAUSTIVE,
        rng=0,
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-corrected p-values, in the same order: p ≤ level keeps the family-wise error rate at the level."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def interval(differences: Sequence[float], level: float = 0.05) -> tuple[float, float] | None:
    """Student's confidence interval of the mean difference, not corrected for other comparisons.

    Returns:
        low and high; None with fewer than two differences, or where one is not finite.
    """
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    from scipy import stats

    mean, error = _mean_and_error(differences)
    margin = float(stats.t.ppf(1 - level / 2, len(differences) - 1)) * error
    return mean - margin, mean + margin


def effect_size(differences: Sequence[float]) -> float | None:
    """Cohen's d_z: the mean difference divided by the standard deviation; None without spread."""
    if len(differences) < 2 or not all(map(math.isfinite, differences)):
        return None
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    return mean / spread if spread > ROUNDING * abs(mean) else None


def _mean_and_error(differences: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error."""
    return statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(len(differences))
