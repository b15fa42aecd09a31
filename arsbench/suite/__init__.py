"""Suites: a grid of optimizers, settings and seeds over one task, from one file.

`definition` and `contender` read the file, `folder` keeps the plan, `runner` runs it with the processes of
`pool`, and `tuning` gives every contender the same search before. Training is imported in those processes
alone (`prepare`, `worker`, `trial`).
"""

from arsbench.suite.definition import Suite, load_suite, read_suite, suite_names, suite_text
from arsbench.suite.entries import slug
from arsbench.suite.folder import SuiteFolder
from arsbench.suite.progress import Snapshot, SuiteObserver
from arsbench.suite.runner import Outcome, run_suite
from arsbench.suite.status import suite_status

__all__ = [
    "Outcome",
    "Snapshot",
    "Suite",
    "SuiteFolder",
    "SuiteObserver",
    "load_suite",
    "read_suite",
    "run_suite",
    "slug",
    "suite_names",
    "suite_status",
    "suite_text",
]
