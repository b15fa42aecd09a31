"""Comparisons in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from arsbench.analysis.comparing import Comparison, common_metric, compare
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import COMPLETE
from arsbench.analysis.runs import BUDGETS, Run
from arsbench.analysis.significance import FEWEST_SEEDS
from arsbench.metrics import Metric

_UNITS = {"steps": "optimizer steps", "passes": "forward-backward passes", "seconds": "seconds"}


def verdict(
    runs: Sequence[Run],
    *,
    metric: Metric | None = None,
    baseline: str | None = None,
    all_pairs: bool = False,
    level: float = 0.05,
) -> str:
    """Who is better by which budget, how that was decided, and what is missing for a decision.

    Args and errors are those of `compare`.

    Returns:
        sentences, a line for each budget and one for how they were reached.
    """
    metric = metric or common_metric(runs)
    first = baseline or runs[0].contender
    lines, tested = [], []
    for budget in BUDGETS:
        found = compare(runs, metric=metric, budget=budget, baseline=first, all_pairs=all_pairs, level=level)
        lines.append(_line(found, budget, [name for name in by_contender(runs) if name != first], first))
        tested += [c for c in found if c.p_value is not None]
    if tested:
        lines.append(_method(tested, metric, level))
    left_out = [run.name for run in runs if run.state not in COMPLETE]
    if left_out:
        lines.append(f"Left out, since they are not complete: {', '.join(left_out)}.")
    return "\n".join(lines)


def _line(found: Sequence[Comparison], budget: str, rivals: Sequence[str], baseline: str) -> str:
    """What comparisons of one budget say, the decided ones first."""
    if not found:
        return f"By {budget}: no comparison; not all runs tell them, or no evaluations fall together."
    against_one = {c.baseline for c in found} == {baseline}
    parts = []
    for outcome, words in (
        ("better", f"better than {baseline}"),
        ("worse", f"worse than {baseline}"),
        ("undecided", f"no difference from {baseline} that could not be chance"),
    ):
        members = [c for c in found if c.verdict == outcome]
        if members:
            named = ", ".join(_member(c, against_one) for c in members)
            parts.append(f"{words if against_one else outcome}: {named}")
    few = [c for c in found if c.verdict == "unreachable"]
    if few:
        parts.append(_unreachable(few, against_one))
    compared = {name for c in found for name in (c.baseline, c.rival)}
    missing = [name for name in rivals if name not in compared]
    if missing:
        parts.append(f"not comparable: {', '.join(missing)}")
    spent = sorted({c.spent for c in found})
    extent = f"{spent[0]:,.0f}" if len(spent) == 1 else f"{spent[0]:,.0f} to {spent[-1]:,.0f}"
    return f"By {budget} (after {extent} {_UNITS[budget]}): {'; '.join(parts)}."


def _member(c: Comparison, against_one: bool) -> str:
    pair = c.rival if against_one else f"{c.rival} than {c.baseline}"
    if c.verdict == "undecided" and not against_one:
        pair = f"{c.rival} or {c.baseline}"
    facts = [_difference(c)]
    if c.verdict == "undecided" and c.seeds_needed is not None:
        facts.append(f"{c.seeds_needed} seeds would tell one as large")
    return f"{pair} ({', '.join(facts)})"


def _difference(c: Comparison) -> str:
    return "a run diverged" if c.difference != c.difference else f"{c.difference:+.4f}"


def _unreachable(few: Sequence[Comparison], against_one: bool) -> str:
    named = ", ".join(
        f"{c.rival if against_one else f'{c.rival} and {c.baseline}'} ({_difference(c)})" for c in few
    )
    counts = sorted({len(c.seeds) for c in few})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    fewest = f"{FEWEST_SEEDS} are the fewest that allow one"
    return f"no verdict is possible with {seeds} in common, {fewest}: {named}"


def _method(tested: Sequence[Comparison], metric: Metric, level: float) -> str:
    seeds = sorted({len(c.seeds) for c in tested})
    extent = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    tests = " or ".join(dict.fromkeys(c.test for c in tested))
    number = max(sum(c.budget == budget for c in tested) for budget in BUDGETS)
    holm = f", corrected after Holm for {number} comparisons a budget" if number > 1 else ""
    better = "higher" if metric.higher_is_better else "lower"
    return (
        f"Compared is {metric.title}, {better} being better, as the mean difference over {extent} seeds in "
        f"common; decided at the {100 * level:g} % level by the {tests}{holm}."
    )
