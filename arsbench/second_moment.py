"""What ARS's second moment sees on a lazy step where nothing is said of it, today and in version 0.1.0."""

from __future__ import annotations

from typing import Any


def default_second_moment(adaptive_sync: bool) -> str:
    """The default of `second_moment`."""
    return "injected" if adaptive_sync else "bounded"


def published_second_moment(adaptive_sync: bool) -> str:
    """What version 0.1.0 computed, which had no `second_moment`."""
    return "injected" if adaptive_sync else "plain"


def with_second_moment(optimizer: dict[str, Any]) -> dict[str, Any]:
    """The section `optimizer` of a run or suite that may be older than `second_moment`."""
    if optimizer.get("name") != "ARS":
        return optimizer
    published = published_second_moment(bool(optimizer.get("adaptive_sync", False)))
    return {**optimizer, "second_moment": optimizer.get("second_moment") or published}
