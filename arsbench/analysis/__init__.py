"""Statistics over finished runs; reads run folders, suites and reports, and nothing else."""

from arsbench.analysis.runs import BUDGETS, Point, Run, load

__all__ = ["BUDGETS", "Point", "Run", "load"]
