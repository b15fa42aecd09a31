"""The results of comparisons as a paragraph, in the style of a paper's results section."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from arsbench.analysis.comparing import choose_metric, compare, contender_pairs
from arsbench.analysis.contenders import by_contender, choose_baseline
from arsbench.analysis.pairing import COARSE, ROUGH, Comparison
from arsbench.analysis.power import POWER
from arsbench.analysis.runs import BUDGETS, ENDED, Run
from arsbench.analysis.significance import FEWEST_SEEDS
from arsbench.analysis.wording import by_value, in_digits, listed
from arsbench.metrics import Metric

_OUTCOMES = {"better": "better than", "worse": "worse than", "undecided": "no significant difference from"}
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
    """Which contenders are better at which budget, how that was tested, and what limits the result.

    Args and errors are those of `compare`.

    Returns:
        lines of sentences: a summary where there is one baseline and a significance test, a line for each
        budget, a line on the method, and a line for each limitation.
    """
    metric = metric or choose_metric(runs)
    first = choose_baseline(runs, baseline)
    options = {"metric": metric, "baseline": first, "all_pairs": all_pairs, "level": level, "test": test}
    comparisons = compare(runs, budget=BUDGETS, **options)
    by_budget = {budget: [c for c in comparisons if c.budget == budget] for budget in BUDGETS}
    pairs = contender_pairs(runs, first, all_pairs)
    tested = [c for c in comparisons if c.p_value is not None]
    lines = [] if all_pairs or not tested else [" ".join(_summary(tested, first))]
    lines += [_result(members, budget, pairs, first, level) for budget, members in by_budget.items()]
    if tested:
        lines.append(_method(tested, metric, level))
    return "\n".join([*lines, *_limitations(runs, by_budget, metric)])


def _all(names: Sequence[str]) -> str:
    return listed(names, most=len(names))


def _by_budgets(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """ "steps and passes": the names with these budgets, from pairs of a name and a budget."""
    names = by_value(dict.fromkeys(pairs), lambda pair: pair[0])
    groups = by_value(names, lambda group: listed([budget for _, budget in group[1]]))
    return {budgets: [name for name, _ in members] for budgets, members in groups}


def _summary(tested: Sequence[Comparison], baseline: str) -> Iterator[str]:
    """A sentence for each outcome and budgets, with the rivals that share them."""
    for outcome, words in _OUTCOMES.items():
        groups = _by_budgets((c.rival, c.budget) for c in tested if c.verdict == outcome)
        for equal, rivals in groups.items():
            singular, plural = ("shows", "show") if outcome == "undecided" else ("is", "are")
            verb = singular if len(rivals) == 1 else plural
            yield f"{_all(rivals)} {verb} {words} {baseline} at equal {equal}."


def _result(
    comparisons: Sequence[Comparison],
    budget: str,
    pairs: Sequence[tuple[str, str]],
    baseline: str,
    level: float,
) -> str:
    """The comparisons at one budget, the significant ones first, and the pairs without a comparison."""
    if not comparisons:
        return (
            f"At equal {budget}: no comparison, because too few runs are finished, some have no data for "
            f"{budget}, or a run ended before the first evaluation of another (a smaller "
            f"train.eval_every_steps evaluates sooner)."
        )
    against = {c.baseline for c in comparisons} == {baseline}
    few = [c for c in comparisons if len(c.seeds) < FEWEST_SEEDS]
    seeds = " or ".join(map(str, sorted({len(c.seeds) for c in few})))
    coarse = [c for c in comparisons if _coarse(c)]
    gap = max((c.gap for c in coarse), default=0.0)
    every = [c.eval_every_steps for c in coarse]
    remedy = (
        "a smaller train.eval_every_steps"
        if None in every
        else f"train.eval_every_steps = {min(every, default=0)}"
    )
    groups = {
        f"{words} {baseline}" if against else words.rpartition(" ")[0]: [
            c for c in comparisons if c.verdict == outcome
        ]
        for outcome, words in _OUTCOMES.items()
    }
    groups |= {
        f"no verdict with {seeds} seed{'s' * (seeds != '1')} in common ({FEWEST_SEEDS} are needed)": few,
        f"no verdict, because evaluations are up to {100 * gap:.0f} % of the budget apart and interpolation "
        f"over more than a third of it misleads ({remedy} allows one)": coarse,
    }
    parts = [f"{title}: {_members(members, against, level)}" for title, members in groups.items() if members]
    compared = {(c.baseline, c.rival) for c in comparisons}
    missing = [_pair(*pair, against and baseline in pair) for pair in pairs if pair not in compared]
    if missing:
        parts.append(f"no comparison: {', '.join(missing)}")
    spent = [c.spent for c in comparisons]
    extent = " to ".join(dict.fromkeys(map(_amount, (min(spent), max(spent)))))
    return f"At equal {budget} ({extent} {_UNITS[budget]}): {'; '.join(parts)}."


def _amount(spent: float) -> str:
    """The tenths matter where the budget is a few seconds."""
    return f"{spent:,.0f}" if spent == int(spent) or spent >= 100 else f"{spent:.1f}"


def _members(members: Sequence[Comparison], against: bool, level: float) -> str:
    return ", ".join(
        f"{_pair(c.baseline, c.rival, against, c.verdict)} ({_facts(c, level)})" for c in members
    )


def _pair(baseline: str, rival: str, against: bool, verdict: str = "") -> str:
    if against:
        return rival
    return f"{rival} {'than' if verdict in ('better', 'worse') else 'and'} {baseline}"


def _facts(c: Comparison, level: float) -> str:
    """What the method's sentence says stands in parentheses."""
    facts = ["a run diverged" if math.isnan(c.difference) else in_digits(c.difference, "+.4f")]
    if c.p_adjusted is None and not math.isnan(c.difference):  # the method's sentence is about tested ones
        facts = [f"difference {facts[0]}"]
    decided = c.verdict in ("better", "worse")
    if decided and c.interval is not None:
        low, high = (in_digits(end, "+.4f") for end in c.interval)
        facts.append(f"{100 * (1 - level):g} % CI {low} to {high}")
    if decided and c.effect_size is not None:
        facts.append(f"d_z = {c.effect_size:+.2f}")
    if c.p_adjusted is not None:
        facts.append("p < 0.001" if c.p_adjusted < 0.001 else f"p = {c.p_adjusted:.3f}")
    if c.verdict == "undecided" and c.seeds_needed is not None:
        facts.append(f"{c.seeds_needed} seeds")
    return ", ".join(facts)


def _method(tested: Sequence[Comparison], metric: Metric, level: float) -> str:
    counts = [len(c.seeds) for c in tested]
    seeds = " to ".join(dict.fromkeys(map(str, (min(counts), max(counts)))))
    tests = " or ".join(dict.fromkeys(c.test for c in tested))
    holm = f", Holm-corrected for {len(tested)} comparisons" if len(tested) > 1 else ""
    better = "higher" if metric.higher_is_better else "lower"
    facts = ["mean difference"]
    if any(c.verdict in ("better", "worse") for c in tested):
        facts.append("confidence interval (CI), Cohen's d_z")
    facts.append("Holm-corrected p" if holm else "p")
    if any(c.verdict == "undecided" and c.seeds_needed is not None for c in tested):
        facts.append(f"number of seeds that would show this difference with a power of {100 * POWER:g} %")
    return (
        f"Metric: {metric.title}; {better} is better. Runs are paired by seed ({seeds} seeds in common). "
        f"Significance: {tests} at the {100 * level:g} % level{holm}. In parentheses: {', '.join(facts)}."
    )


def _coarse(c: Comparison) -> bool:
    """Whether only the distance between evaluations prevents a verdict."""
    return len(c.seeds) >= FEWEST_SEEDS and c.gap > COARSE


def _cut_short(
    runs: Sequence[Run], comparisons: Sequence[Comparison], metric: Metric, budget: str
) -> list[str]:
    """The contenders whose learning-rate schedules continue well beyond the budget of a comparison."""
    cut = []
    for name, members in by_contender(runs).items():
        spent = [c.spent for c in comparisons if name in (c.baseline, c.rival)]
        ends = [
            points[-1].spent(budget)
            for run in members
            if run.state in ENDED
            and run.config.get("scheduler", {}).get("name", "none") != "none"
            and (points := run.history(metric))
        ]
        if spent and any(end is not None and end > (1 + ROUGH) * min(spent) for end in ends):
            cut.append(name)
    return cut


def _limitations(
    runs: Sequence[Run], by_budget: dict[str, list[Comparison]], metric: Metric
) -> Iterator[str]:
    for budget, members in by_budget.items():
        gap = max((c.gap for c in members if not _coarse(c)), default=0.0)
        if gap > ROUGH:
            yield (
                f"At equal {budget}, values are interpolated between evaluations up to {100 * gap:.0f} % of "
                f"the budget apart; a smaller train.eval_every_steps makes them more precise."
            )
        cut = _all(_cut_short(runs, members, metric, budget))
        if cut:
            yield (
                f"At equal {budget}, the comparison ends before the learning-rate schedule of {cut}, a "
                f"disadvantage for {cut}; set train.max_steps to give all runs equal budgets."
            )
    diverged = [f"{run.name} {run.standing}" for run in runs if run.diverged]
    if diverged:
        yield f"{_all(diverged)}; a diverged run ranks below every run that did not diverge."
    early = ((name, c.budget) for members in by_budget.values() for c in members for name in c.left_out)
    for equal, names in _by_budgets(early).items():
        yield (
            f"Left out at equal {equal} for ending before half of the budget that the other runs share: "
            f"{_all(names)}. The cost to a target still includes {'them' if len(names) > 1 else 'it'}."
        )
    unfinished = [run.name for run in runs if run.state not in ENDED]
    if unfinished:
        yield f"Left out because they are unfinished: {_all(unfinished)}."
