"""A report as one self-contained HTML page: no network, no other file."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from arsbench import __version__
from arsbench.analysis import Run
from arsbench.analysis.contenders import by_contender, distinct, suite_of
from arsbench.analysis.contenders import tuning as tuned
from arsbench.analysis.overview import Overview
from arsbench.analysis.overview import overview as compare_runs
from arsbench.errors import printable
from arsbench.files import atomic_write
from arsbench.pages import outcomes, run_charts, run_tables, tables
from arsbench.pages.chart_data import BUDGET_TITLES
from arsbench.pages.charts import PALETTE
from arsbench.pages.svg import inline
from arsbench.pages.table_model import Cell
from arsbench.report.rendering import fill


def write_page(runs: Sequence[Run], path: str | Path, overview: Overview | None = None) -> Path:
    """Write the page of one run, a suite, or any mixture, to `path`, which is replaced; returns `path`.

    The same runs give the same bytes.

    Args:
        runs: at least one, of one task.
        overview: their comparison; by default the one by the deciding metric, with the suite's baseline or
            the first run's contender.

    Raises:
        UserError: the runs cannot be compared, or the file cannot be written.
    """
    runs = distinct(runs)
    if overview is None and any(run.metrics() for run in runs):
        overview = compare_runs(runs)
    folder = files("arsbench.pages") / "templates"
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    page = fill(
        "pages/templates/page.html.j2",
        suites={suite_of(run) for run in runs},
        version=__version__,
        style=style,
        script=script,
        # Only this script may run, and nothing may be loaded from anywhere.
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        runs=runs,
        overview=overview,
        contenders=by_contender(runs),
        outcome=outcomes.outcome(runs, overview),
        endings=outcomes.endings(runs),
        curves=run_charts.learning_curves(runs, overview.metric if overview else None),
        tuning=tables.tuning(tuned(runs)),
        machines=run_tables.machines(runs),
        tables=tables,
        run_tables=run_tables,
        run_charts=run_charts,
        budget_titles=BUDGET_TITLES,
        colours=len(PALETTE),
        inline=inline,
        printable=printable,
        json=functools.partial(json.dumps, indent=2, ensure_ascii=False),
        sort_key=_sort_key,
    )
    with atomic_write(path) as file:
        file.write(page)
    return Path(path)


def _sort_key(cell: Cell) -> str | None:
    """The number to sort a cell by, as JavaScript reads it; None without one."""
    return None if cell.value is None or math.isnan(cell.value) else repr(cell.value)
