"""The plans of suites, as `arsbench.suite` writes them, told from other files of that name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from arsbench.errors import UserError
from arsbench.runs import checks
from arsbench.runs.checks import read_checked
from arsbench.runs.paths import STATUS

# A suite's folder holds this file; see arsbench/suite.
PLAN_FILE = "plan.json"

# What every plan has, besides what is needed to read it.
_ALWAYS = {"baseline", "tuning"}


def find_plan(folder: Path) -> dict[str, Any] | None:
    """The plan of the suite in a folder; None where there is no such file, or it is no suite's."""
    path = folder / PLAN_FILE
    if not path.is_file():
        return None
    status = path.stat()
    return _suites_plan(path, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=16)
def _suites_plan(path: Path, _version: tuple[int, ...]) -> dict[str, Any] | None:
    """Read once for all runs of a suite, which may be thousands, as long as the file is the same."""
    try:
        plan = read_checked(path, checks.PLAN)
    except UserError:
        return None
    return plan if plan.keys() >= _ALWAYS else None


def plan_of(source: Path) -> dict[str, Any] | None:
    """The plan of the suite that a user named; None where `source` is something else.

    Raises:
        UserError: the plan is damaged. Beside a run it is somebody else's file instead.
    """
    plan = find_plan(source)
    if plan is None and (source / PLAN_FILE).is_file() and not (source / STATUS).is_file():
        return read_checked(source / PLAN_FILE, checks.PLAN)
    return plan
