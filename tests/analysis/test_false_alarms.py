"""How often a verdict is wrong, and how often a difference is shown, by simulation."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from scipy import stats

from arsbench.analysis import BUDGETS, compare

SIMULATED = 1000


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
