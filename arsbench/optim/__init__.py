"""Optimizers for any model, as `torch.optim.Optimizer`s, and functions that make and call them.

The usual call is `ARS(split_parameters(model), lr=1e-4)`.
"""

from arsbench.optim.adamuon import AdaMuon
from arsbench.optim.adamw import AdamW
from arsbench.optim.adarmsuon import AdaRMSuon
from arsbench.optim.ars import ARS
from arsbench.optim.muon import Muon
from arsbench.optim.param_groups import describe_groups, split_parameters
from arsbench.optim.protocol import accepts_closure, mode_switch, take_step
from arsbench.optim.registry import create_optimizer, gradient_norm, measurements
from arsbench.optim.rmsuon import RMSuon
from arsbench.optim.third_party_state import check_storable, load_state

__all__ = [
    "ARS",
    "AdaMuon",
    "AdaRMSuon",
    "AdamW",
    "Muon",
    "RMSuon",
    "accepts_closure",
    "check_storable",
    "create_optimizer",
    "describe_groups",
    "gradient_norm",
    "load_state",
    "measurements",
    "mode_switch",
    "split_parameters",
    "take_step",
]
