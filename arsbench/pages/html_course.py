"""The sections of a page that show how runs went and what they ran; each is "" without anything to show."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from arsbench.analysis import Run
from arsbench.analysis.contenders import by_contender
from arsbench.analysis.contenders import tuning as tuned
from arsbench.analysis.overview import Overview
from arsbench.analysis.wording import by_value, listed
from arsbench.metrics import Metric
from arsbench.pages import chart_data
from arsbench.pages.cells import TUNED, best_settings, settings
from arsbench.pages.html_parts import (
    Cell,
    code,
    details,
    figure,
    number,
    paragraph,
    places_of,
    section,
    table,
)
from arsbench.report.columns import NOT_AVAILABLE, text_of


def curves(runs: Sequence[Run], metric: Metric | None) -> str:
    """Learning curves by each budget, with a switch."""
    found = chart_data.learning_curves(runs, metric)
    choices = "".join(
        f"<label><input type='radio' name='budget' value='{budget}'{'' if i else ' checked'}>"
        f"{escape(chart_data.AXES[budget])}</label>"
        for i, (budget, _) in enumerate(found)
    )
    switch = f"<fieldset class='switch' hidden><legend>Against</legend>{choices}</fieldset>"
    parts = [
        f"<div data-budget='{budget}'>\n<h3>Against {escape(chart_data.AXES[budget])}</h3>\n"
        f"{_figures(charts)}\n</div>"
        for budget, charts in found
    ]
    return section("curves", "Learning curves", *([switch] if len(found) > 1 else []), *parts)


def course(runs: Sequence[Run]) -> str:
    """Gradient norm and PI."""
    return section("course", "Gradient norm and PI", _figures(chart_data.course(runs)))


def cosines(runs: Sequence[Run]) -> str:
    """cos_pos over the cycle."""
    return section("cosines", "Flatness vector", _figures(chart_data.cosines(runs)))


def time_and_memory(runs: Sequence[Run]) -> str:
    """Of each contender, in bars where there are several."""
    places, rows = places_of(runs), []
    for contender, members in by_contender(runs).items():
        measured = [
            (
                chart_data.step_time(run),
                _mean(record.get("tokens_per_second") for record in run.epochs),
                chart_data.peak(run, "peak_rss_mib"),
                chart_data.peak(run, "peak_gpu_mib"),
            )
            for run in members
            if run.epochs
        ]
        if measured:
            time, rate, resident, gpu = zip(*measured, strict=True)
            known = [[v for v in column if v is not None] for column in (resident, gpu)]
            rows.append(
                [
                    Cell(contender, place=places[contender]),
                    number(_mean(time), ",.1f"),
                    number(_mean(rate), ",.0f"),
                    *(number(max(column, default=None), ",.0f") for column in known),
                ]
            )
    headers = ["Contender", "ms per step", "Targets per second", "Peak resident MiB", "Peak GPU MiB"]
    caption = "Means over the runs, evaluation counted in steps but not in targets; the highest of memory"
    shown = table(caption, headers, rows, sortable=len(rows) > 1)
    return section("cost", "Time and memory", _figures(chart_data.costs(runs)), shown)


def tuning(runs: Sequence[Run]) -> str:
    """What the search for settings spent on each contender."""
    rows = []
    for contender, record in tuned(runs).items():
        spent = [number(record.get(key), ",.0f") for key in TUNED.values()]
        rows.append([contender, *spent, number(record.get("value")), best_settings(record)])
    headers = ["Contender", *TUNED, "Value", "Best settings"]
    return section("tuning", "Tuning", table("What tuning spent and found", headers, rows, sortable=True))


def configuration(runs: Sequence[Run], found: Overview | None) -> str:
    """The keys that differ, then everything."""
    contenders = by_contender(runs)
    differences = found.differences if found else []
    positions = {run.name: position for position, run in enumerate(runs)}
    rows = [
        [key, *(settings([values[positions[run.name]] for run in own]) for own in contenders.values())]
        for key, values in differences
    ]
    alike = paragraph("No key that all of them tell differs, but for the seed.") if len(runs) > 1 else ""
    full = [details(f"{name}: whole configuration", code(own[0].config)) for name, own in contenders.items()]
    return section(
        "configuration",
        "Configuration",
        table("Keys that differ", ["Key", *contenders], rows) or alike,
        *full,
    )


def environment(runs: Sequence[Run]) -> str:
    """Machine and versions; a column for each that differs."""
    groups = by_value([run for run in runs if run.environment], lambda run: _facts(run.environment))
    if not groups:
        return ""
    facts = list(dict.fromkeys(fact for known, _ in groups for fact in known))
    rows = [[fact, *(known.get(fact, NOT_AVAILABLE) for known, _ in groups)] for fact in facts]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    headers = ["Fact", *(listed([run.name for run in members]) for _, members in groups)]
    if len(groups) == 1:
        return section("environment", "Environment", table("Of all runs", ["Fact", "Value"], rows))
    return section(
        "environment",
        "Environment",
        table("Facts that differ", headers, differing),
        details("Every fact", table("Machine and versions", headers, rows)),
    )


def _facts(environment: dict[str, Any]) -> dict[str, str]:
    """A line for each fact, for each op that has a backend too."""
    facts: dict[str, str] = {}
    for name, value in environment.items():
        inner = (
            {f"{name}: {key}": own for key, own in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
        facts |= {key: text_of(own) for key, own in inner.items()}
    return facts


def _figures(charts: Sequence[chart_data.Chart]) -> str:
    content = "\n".join(map(figure, charts))
    return f"<div class='figures'>\n{content}\n</div>" if content else ""


def _mean(values: Iterable[float | None]) -> float | None:
    """Of the values that are known."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
