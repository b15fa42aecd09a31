"""Reports: a run folder as Markdown, and Markdown back as a run folder.

`content` defines what a report holds. `markdown` writes it in the reference report format, the format of the
first ARS-Bench Experiment Report, followed by details of the run and by a data block: all figures in full
precision as JSON (`data_block`). `parsing` reads a report, from its data block or else from the sections of
the reference format. `columns` defines the tables, `markup` escapes text. Nothing here imports torch.
"""

from arsbench.report.content import Report
from arsbench.report.markdown import render, results_table, write
from arsbench.report.markup import table_lines
from arsbench.report.parsing import import_markdown, parse, read_report

__all__ = [
    "Report",
    "import_markdown",
    "parse",
    "read_report",
    "render",
    "results_table",
    "table_lines",
    "write",
]
