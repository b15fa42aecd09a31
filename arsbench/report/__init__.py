"""Reports: a run folder as Markdown, and Markdown back as a run folder.

The form is that of the seed report, the first ARS-Bench Experiment Report. `columns` says what its tables
hold, `markup` escapes their texts, `markdown` writes it, `details` adds what the seed report could not tell,
and `parsing` reads it back. Nothing here imports torch.
"""

from arsbench.report.markdown import render, results_table, write
from arsbench.report.markup import table_lines
from arsbench.report.parsing import import_markdown, parse, read_report

__all__ = ["import_markdown", "parse", "read_report", "render", "results_table", "table_lines", "write"]
