"""Reading the plans of suites, which `arsbench.suite` writes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from arsbench.errors import UserError
from arsbench.runs import checks
from arsbench.runs.checks import read_checked
from arsbench.runs.paths import STATUS

PLAN_FILE = "plan.json"

# Keys of every plan that `runs.checks.PLAN` does not require; other programs write files of this name too.
_REQUIRED = {"baseline", "tuning"}


def find_plan(folder: Path) -> dict[str, Any] | None:
    """The plan of the suite in a folder; None where the file is missing or is not a suite's."""
    path = folder / PLAN_FILE
    if not path.is_file():
        return None
    status = path.stat()
    return _read(path, (status.st_mtime_ns, status.st_size, status.st_ino))


@lru_cache(maxsize=16)
def _read(path: Path, _version: tuple[int, ...]) -> dict[str, Any] | None:
    """Read once for all runs of a suite, which may be thousands, until the file changes."""
    try:
        plan = read_checked(path, checks.PLAN)
    except UserError:
        return None
    return plan if plan.keys() >= _REQUIRED else None


def plan_of(source: Path) -> dict[str, Any] | None:
    """The plan of the suite that a user named; None where `source` is not a suite.

    Raises:
        UserError: the plan is damaged. In a run's folder such a file belongs to another program.
    """
    plan = find_plan(source)
    if plan is None and (source / PLAN_FILE).is_file() and not (source / STATUS).is_file():
        return read_checked(source / PLAN_FILE, checks.PLAN)
    return plan
