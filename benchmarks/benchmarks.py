"""Stands for the package in `python benchmarks/X.py`, where Python looks for modules in this folder only."""

from pathlib import Path

__path__ = [str(Path(__file__).parent)]
