"""Statistics over runs, read from run folders, suites and reports. Never imports torch."""

from arsbench.analysis.comparing import compare
from arsbench.analysis.curves import Band, band
from arsbench.analysis.pairing import Comparison
from arsbench.analysis.power import seeds_needed
from arsbench.analysis.profiles import Problem, Profile, performance_profile, problems, profiles
from arsbench.analysis.results import baseline_target, cost_to_target
from arsbench.analysis.runs import BUDGETS, Point, Run, load
from arsbench.analysis.verdict import verdict

__all__ = [
    "BUDGETS",
    "Band",
    "Comparison",
    "Point",
    "Problem",
    "Profile",
    "Run",
    "band",
    "baseline_target",
    "compare",
    "cost_to_target",
    "load",
    "performance_profile",
    "problems",
    "profiles",
    "seeds_needed",
    "verdict",
]
