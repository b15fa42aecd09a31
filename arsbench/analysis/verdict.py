"""Comparisons in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from arsbench.analysis.comparing import Comparison, common_metric, compare, contender_pairs
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.pairing import COARSE, ROUGH
from arsbench.analysis.runs import BUDGETS, COMPLETE, Run
from arsbench.analysis.significance import FEWEST_SEEDS
from arsbench.analysis.wording import in_digits
from arsbench.metrics import Metric

_OUTCOMES = {"better": "better than", "worse": "worse than", "undecided": "not to be told from"}
_UNITS = {"steps": "optimizer steps", "passes": "forward-backward passes", "seconds": "seconds of training"}


def verdict(
    runs: Sequence[Run],
    *,
    metric: Metric | None = None,
    baseline: str | None = None,
    all_pairs: bool = False,
    level: float = 0.05,
    test: str = "auto",
) -> str:
    """Who is better by which budget, how that was decided, and what is missing for a decision.

    Args and errors are those of `compare`.

    Returns:
        sentences: a line that sums up where there is one baseline and a decision can be reached, a line for
        each budget, and one for how they were reached.
    """
    metric = metric or common_metric(runs)
    first = baseline or runs[0].contender
    options = {"metric": metric, "baseline": first, "all_pairs": all_pairs, "level": level, "test": test}
    comparisons = compare(runs, budget=BUDGETS, **options)
    by_budget = {budget: [c for c in comparisons if c.budget == budget] for budget in BUDGETS}
    pairs = contender_pairs(runs, first, all_pairs)
    lines = [_line(found, budget, pairs, first) for budget, found in by_budget.items()]
    tested = [c for c in comparisons if c.p_value is not None]
    if tested:
        lines.append(_method(tested, metric, level))
        if not all_pairs:
            lines.insert(0, _summary(tested, first))
    lines += [
        f"By {budget}, values are interpolated between evaluations up to {100 * gap:.0f} % of the budget "
        f"apart, which is rough; train.eval_every_steps sets them closer."
        for budget, found in by_budget.items()
        if (gap := max((c.gap for c in found if not _coarse(c)), default=0.0)) > ROUGH
    ]
    lines += [
        f"By {budget}, {_listed(cut)} {'are' if len(cut) > 1 else 'is'} compared before the end of "
        f"{'their schedules' if len(cut) > 1 else 'its schedule'} of learning rates, which tells against "
        f"{'them' if len(cut) > 1 else 'it'}; train.max_steps sets budgets that are equal."
        for budget, found in by_budget.items()
        if (cut := _cut_short(runs, found, metric, budget))
    ]
    diverged = [f"{run.name} {run.standing}" for run in runs if run.diverged]
    if diverged:
        counts = "count" if len(diverged) > 1 else "counts"
        lines.append(f"{_listed(diverged)}, and {counts} as worse than every run that did not.")
    lines += _early(comparisons)
    left_out = [run.name for run in runs if run.state not in COMPLETE]
    if left_out:
        lines.append(f"Left out, since they are not complete: {', '.join(left_out)}.")
    return "\n".join(lines)


def _early(comparisons: Sequence[Comparison]) -> list[str]:
    """The runs that ended too early to be compared, those of the same budgets together."""
    budgets: dict[str, dict[str, None]] = {}
    for c in comparisons:
        for name in c.left_out:
            budgets.setdefault(name, {})[c.budget] = None
    alike: dict[str, list[str]] = {}
    for name, left in budgets.items():
        alike.setdefault(_listed(list(left)), []).append(name)
    lines = []
    for left, names in alike.items():
        are, they, them = ("are", "they", "them") if len(names) > 1 else ("is", "it", "it")
        lines.append(
            f"By {left}, {_listed(names)} {are} left out: {they} ended before half of the budget that the "
            f"other runs share. The cost to a target still counts {them}."
        )
    return lines


def _cut_short(runs: Sequence[Run], found: Sequence[Comparison], metric: Metric, budget: str) -> list[str]:
    """The contenders whose schedules went on for a good while after the budgets of their comparisons."""
    cut = []
    for name, own in by_contender(runs).items():
        spent = [c.spent for c in found if name in (c.baseline, c.rival)]
        ends = [
            points[-1].spent(budget)
            for run in own
            if run.state in COMPLETE
            and run.config.get("scheduler", {}).get("name", "none") != "none"
            and (points := run.history(metric))
        ]
        if spent and any(end is not None and end > (1 + ROUGH) * min(spent) for end in ends):
            cut.append(name)
    return cut


def _summary(tested: Sequence[Comparison], baseline: str) -> str:
    """Each rival by all budgets; rivals of the same verdicts stand together."""
    verdicts: dict[str, dict[str, list[str]]] = {}
    for c in tested:
        verdicts.setdefault(c.rival, {}).setdefault(c.verdict, []).append(c.budget)
    alike: dict[str, list[str]] = {}
    for rival, budgets in verdicts.items():
        parts = [
            f"{words} {baseline} by {_listed(budgets[outcome])}"
            for outcome, words in _OUTCOMES.items()
            if outcome in budgets
        ]
        alike.setdefault(", ".join(parts), []).append(rival)
    return " ".join(f"{_listed(rivals)}: {words}." for words, rivals in alike.items())


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _line(found: Sequence[Comparison], budget: str, pairs: Sequence[tuple[str, str]], baseline: str) -> str:
    """What comparisons of one budget say, the decided ones first, and which of the pairs have none."""
    if not found:
        return (
            f"By {budget}: no comparison; too few runs are complete, not all tell them, or a run was first "
            f"evaluated after another had ended (a smaller train.eval_every_steps evaluates it sooner)."
        )
    against_one = {c.baseline for c in found} == {baseline}
    parts = []
    for outcome, words in _OUTCOMES.items():
        members = [c for c in found if c.verdict == outcome]
        if members:
            named = ", ".join(_member(c, against_one) for c in members)
            parts.append(f"{f'{words} {baseline}' if against_one else outcome}: {named}")
    few = [c for c in found if len(c.seeds) < FEWEST_SEEDS]
    if few:
        parts.append(_unreachable(few, against_one))
    coarse = [c for c in found if _coarse(c)]
    if coarse:
        parts.append(_too_far_apart(coarse, against_one))
    compared = {(c.baseline, c.rival) for c in found}
    missing = [
        rival if one == baseline and against_one else f"{rival} and {one}"
        for one, rival in pairs
        if (one, rival) not in compared
    ]
    if missing:
        parts.append(f"not comparable: {', '.join(missing)}")
    spent = [c.spent for c in found]
    extent = " to ".join(dict.fromkeys(map(_amount, (min(spent), max(spent)))))
    return f"By {budget} (after {extent} {_UNITS[budget]}): {'; '.join(parts)}."


def _amount(spent: float) -> str:
    """Of a few seconds the tenths matter."""
    return f"{spent:,.0f}" if spent == int(spent) or spent >= 100 else f"{spent:.1f}"


def _member(c: Comparison, against_one: bool) -> str:
    pair = c.rival if against_one else f"{c.rival} than {c.baseline}"
    if c.verdict == "undecided" and not against_one:
        pair = f"{c.rival} or {c.baseline}"
    facts = [_difference(c)]
    if c.verdict == "undecided" and c.seeds_needed is not None:
        facts.append(f"{c.seeds_needed} seeds")
    return f"{pair} ({', '.join(facts)})"


def _difference(c: Comparison) -> str:
    return "a run diverged" if c.difference != c.difference else in_digits(c.difference, "+.4f")


def _coarse(c: Comparison) -> bool:
    """Whether evaluations alone stand between it and a verdict."""
    return len(c.seeds) >= FEWEST_SEEDS and c.gap > COARSE


def _too_far_apart(coarse: Sequence[Comparison], against_one: bool) -> str:
    gap = max(c.gap for c in coarse)
    steps = [c.eval_every_steps for c in coarse]
    closer = "a smaller train.eval_every_steps" if None in steps else f"train.eval_every_steps = {min(steps)}"
    return (
        f"no verdict is possible with evaluations up to {100 * gap:.0f} % of the budget apart, since "
        f"interpolation over more than a third of it misleads ({closer} allows one): "
        f"{_differences(coarse, against_one)}"
    )


def _differences(members: Sequence[Comparison], against_one: bool) -> str:
    return ", ".join(
        f"{c.rival if against_one else f'{c.rival} and {c.baseline}'} ({_difference(c)})" for c in members
    )


def _unreachable(few: Sequence[Comparison], against_one: bool) -> str:
    counts = sorted({len(c.seeds) for c in few})
    seeds = " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds")
    fewest = f"{FEWEST_SEEDS} are the fewest that allow one"
    return f"no verdict is possible with {seeds} in common, {fewest}: {_differences(few, against_one)}"


def _method(tested: Sequence[Comparison], metric: Metric, level: float) -> str:
    seeds = sorted({len(c.seeds) for c in tested})
    extent = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    tests = " or ".join(dict.fromkeys(c.test for c in tested))
    holm = f", corrected after Holm for all {len(tested)} comparisons" if len(tested) > 1 else ""
    better = "higher" if metric.higher_is_better else "lower"
    undecided = any(c.verdict == "undecided" and c.seeds_needed is not None for c in tested)
    needed = ", and how many seeds would probably tell one as large" if undecided else ""
    return (
        f"Compared is {metric.title}, {better} being better, as the mean difference over {extent} seeds in "
        f"common; decided at the {100 * level:g} % level by the {tests}{holm}. In brackets: the "
        f"difference{needed}."
    )
