"""A comparison as Markdown that can be read in a terminal as well."""

from __future__ import annotations

import functools
import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from arsbench.analysis import Run
from arsbench.analysis.checks import same_task
from arsbench.analysis.contenders import distinct
from arsbench.analysis.overview import Overview
from arsbench.analysis.overview import overview as compare_runs
from arsbench.analysis.plans import PLAN_FILE
from arsbench.errors import ACTING
from arsbench.files import atomic_write
from arsbench.pages import run_tables, tables
from arsbench.pages.charts import Plot
from arsbench.pages.outcomes import endings
from arsbench.pages.table_model import Table
from arsbench.report.markup import cells_of, escape, rows_of_markdown
from arsbench.report.rendering import fill
from arsbench.runs import checks
from arsbench.runs.checks import read_checked

# Longer lines are hard to read, and wider tables do not fit many terminals.
_WIDTH = 100


def render(
    overview: Overview, *, title: str = "ARS-Bench Comparison", plots: Iterable[str] = (), width: int = _WIDTH
) -> str:
    """The comparison as Markdown.

    Args:
        plots: lines of `plot_lines`.
        width: of tables, in columns of text; wider ones are split.
    """
    return fill(
        "pages/templates/comparison.md.j2",
        title=title,
        task=same_task(overview.runs),
        overview=overview,
        endings=endings(overview.runs),
        plots=plots,
        tables=tables,
        run_tables=run_tables,
        table_lines=functools.partial(table_lines, width=width),
    )


def write_suite(folder: Path, runs: Sequence[Run], plots: Sequence[str] = ()) -> tuple[Overview, Path]:
    """Write the comparison of a suite's runs, as `load` returned them, to `summary.md` in its folder.

    `plots` are lines of `plot_lines`. Returns the comparison, and the file's path.

    Raises:
        UserError: no run has finished an epoch, or the file cannot be written.
    """
    overview = compare_runs(distinct(runs))
    plan = read_checked(folder / PLAN_FILE, checks.PLAN)
    path = folder / "summary.md"
    with atomic_write(path) as file:
        file.write(render(overview, title=f"ARS-Bench Suite {plan['name']}", plots=plots))
    return overview, path


def plot_lines(plots: Iterable[Plot], beside: Path) -> list[str]:
    """A section of pictures with their descriptions, linked by paths relative to the folder `beside`."""
    lines = ["", "## Plots"]
    for plot in plots:
        path = Path(os.path.relpath(plot.path, beside)).as_posix()
        target = re.sub(rf"[<>\\]|{ACTING}", lambda match: quote(os.fsencode(match[0]), safe=""), path)
        lines += ["", f"![{escape(plot.title)}](<{target}>)", "", escape(plot.description)]
    return lines


def width_for(stream: TextIO) -> int:
    """How wide lines may be: 100 columns, or the width of the terminal that `stream` is, if less."""
    return min(shutil.get_terminal_size().columns, _WIDTH) if stream.isatty() else _WIDTH


def for_terminal(text: str, stream: TextIO) -> str:
    """Text or Markdown with its prose wrapped, where `stream` is a terminal; otherwise as it is."""
    if not stream.isatty():
        return text
    wrapper = textwrap.TextWrapper(width_for(stream), break_long_words=False, break_on_hyphens=False)
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.startswith(("|", "![")):
            wrapper.subsequent_indent = "  " if line.startswith("- ") else ""
            lines[i] = wrapper.fill(line)
    return "\n".join(lines)


def table_lines(table: Table, width: int = _WIDTH) -> list[str]:
    """The table as aligned lines of Markdown, numbers to the right.

    A table that is wider than `width` is split into several, which all begin with its first column.
    """
    rows = cells_of([table.headers, *([cell.text for cell in row] for row in table.rows)])
    columns = []
    for cells, numeric in zip(zip(*rows, strict=True), table.numeric_columns, strict=True):
        longest = max(map(len, cells))
        columns.append([cell.rjust(longest) if numeric else cell.ljust(longest) for cell in cells])
    first, *others = columns
    start = 4 + len(first[0])
    widths = [len(cells[0]) + 3 for cells in others]
    can_fit = start + max(widths, default=0) <= width
    parts, taken = [[first]], start
    for column, added in zip(others, widths, strict=True):
        if can_fit and taken + added > width:
            parts.append([first])
            taken = start
        parts[-1].append(column)
        taken += added
    return [line for part in parts for line in ("", *rows_of_markdown(list(zip(*part, strict=True))))][1:]
