"""A report as one page that needs nothing else: no network, no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from arsbench import __version__
from arsbench.analysis import Run
from arsbench.analysis.contenders import by_contender, distinct, suite_of
from arsbench.analysis.overview import Overview, overview
from arsbench.characters import printable
from arsbench.files import atomic_write
from arsbench.pages import html_course as course
from arsbench.pages import html_outcome as outcome
from arsbench.pages.html_parts import items, section


def write_page(
    runs: Sequence[Run],
    path: str | Path,
    found: Overview | None = None,
) -> Path:
    """Write the page of one run, a suite, or any mixture, to `path`, which is replaced.

    The same runs give the same bytes.

    Args:
        runs: at least one, of one task.
        found: their comparison; by default the one by the deciding metric, with the suite's baseline or the
            first run's contender.

    Returns:
        `path`.

    Raises:
        UserError: the runs cannot be compared, or the file cannot be written.
    """
    runs = distinct(runs)
    if found is None and any(run.metrics() for run in runs):
        found = overview(runs)
    several = len(by_contender(runs)) > 1
    content = [
        outcome.results(runs, found),
        outcome.comparisons(found),
        outcome.costs(found if several else None),
        outcome.incomplete(runs),
        course.curves(runs, found.metric if found else None),
        course.course(runs),
        course.cosines(runs),
        course.time_and_memory(runs),
        course.tuning(runs),
        course.configuration(runs, found),
        course.environment(runs),
    ]
    page = _page(
        title=escape(_title(runs)),
        summary=escape(_summary(runs)),
        verdict=outcome.verdict(runs, found),
        warnings=section("warnings", "Warnings", items(found.warnings if found and several else ())),
        content="\n".join(filter(None, content)),
        footer=escape(f"Written by arsbench {__version__}."),
    )
    with atomic_write(path) as file:
        file.write(page)
    return Path(path)


def _title(runs: Sequence[Run]) -> str:
    suites = {suite_of(run) for run in runs}
    suite = suites.pop() if len(suites) == 1 and len(runs) > 1 else None
    if suite is not None:
        return f"ARS-Bench suite {printable(suite.name)}"
    if len(runs) > 1:
        return "ARS-Bench comparison"
    return f"ARS-Bench {'report' if runs[0].imported else 'run'} {runs[0].name}"


def _summary(runs: Sequence[Run]) -> str:
    contenders = by_contender(runs)
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    parts = [
        ", ".join(dict.fromkeys(run.task for run in runs)),
        f"{len(contenders)} contenders" if len(contenders) > 1 else next(iter(contenders)),
        f"{len(runs)} runs" if len(runs) > 1 else runs[0].name,
    ]
    if seeds:
        parts.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}")
    return " · ".join(parts)


def _page(**parts: str) -> str:
    folder = files("arsbench.pages") / "templates"
    template, style, script = (
        (folder / name).read_text(encoding="utf-8") for name in ("template.html", "page.css", "page.js")
    )
    # Only this script may run, and nothing may be loaded from anywhere.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template(template).substitute(parts, style=style, script=script, digest=digest)
