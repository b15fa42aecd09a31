"""ARS-Bench: is an optimizer better, on real text, at an honest cost?

Importing this package imports no torch, so that the command line answers at once. The parts are
`arsbench.optim` (optimizers for any model), `arsbench.ops` (compiled operations) and the benchmark built
on them.
"""

__version__ = "0.2.0"
