"""The fixtures of tests/report: a run folder, and runs made by hand."""

from ..report.conftest import *  # noqa: F403
