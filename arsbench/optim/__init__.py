"""Optimizers for any model, ordinary `torch.optim.Optimizer`s, and the helpers that set them up.

`ARS(split_parameters(model), lr=1e-4)` is the usual call.
"""

from arsbench.optim.adamuon import AdaMuon
from arsbench.optim.adamw import AdamW
from arsbench.optim.adarmsuon import AdaRMSuon
from arsbench.optim.ars import ARS, default_second_moment, published_second_moment
from arsbench.optim.groups import describe_groups, split_parameters
from arsbench.optim.muon import Muon
from arsbench.optim.registry import accepts_closure, create_optimizer, measurements
from arsbench.optim.rmsuon import RMSuon

__all__ = [
    "ARS",
    "AdaMuon",
    "AdaRMSuon",
    "AdamW",
    "Muon",
    "RMSuon",
    "accepts_closure",
    "create_optimizer",
    "default_second_moment",
    "describe_groups",
    "measurements",
    "published_second_moment",
    "split_parameters",
]
