"""Uses of `arsbench.analysis` and `arsbench.report` with the types that callers see. Never run."""

from pathlib import Path
from typing import assert_type

from arsbench import analysis, report
from arsbench.runs.folder import RunFolder


def statistics(paths: list[str | Path]) -> None:
    runs = analysis.load(paths)
    assert_type(runs, list[analysis.Run])
    assert_type(analysis.compare(runs, budget="steps", baseline="AdamW"), list[analysis.Comparison])
    assert_type(analysis.verdict(runs, level=0.01), str)
    assert_type(analysis.seeds_needed([0.1, 0.2, 0.15]), int | None)


def reports(run: RunFolder) -> None:
    assert_type(report.render(run), str)
    assert_type(report.write(run), Path)
    assert_type(report.import_markdown("summary.md", Path("runs/imported")), RunFolder)
