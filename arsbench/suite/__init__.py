"""Suites: contenders (an optimizer with its settings) and seeds on one task, from one TOML file.

`file` reads the suite file, `folder` keeps the plan, `run` runs it in the processes of `processes`, and
`tuning` gives every contender the same search beforehand. Only the processes (`prepare`, `worker`, `trial`)
import training.
"""

from arsbench.suite.entries import slug
from arsbench.suite.file import Suite, check_suite, read_suite, suite_names, suite_text
from arsbench.suite.folder import SuiteFolder
from arsbench.suite.processes import Snapshot, SuiteObserver
from arsbench.suite.run import SuiteOutcome, run_suite
from arsbench.suite.status import suite_status

__all__ = [
    "Snapshot",
    "Suite",
    "SuiteFolder",
    "SuiteObserver",
    "SuiteOutcome",
    "check_suite",
    "read_suite",
    "run_suite",
    "slug",
    "suite_names",
    "suite_status",
    "suite_text",
]
