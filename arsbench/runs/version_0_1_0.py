"""What runs and suites of version 0.1.0 left out: ARS's `second_moment`, which that version did not have."""

from __future__ import annotations

from typing import Any


def published_second_moment(adaptive_sync: bool) -> str:
    """The `second_moment` that version 0.1.0 computed with."""
    return "injected" if adaptive_sync else "plain"


def with_second_moment(optimizer: dict[str, Any]) -> dict[str, Any]:
    """A stored section `optimizer`, with the `second_moment` of version 0.1.0 where it has none."""
    if optimizer.get("name") != "ARS":
        return optimizer
    published = published_second_moment(bool(optimizer.get("adaptive_sync", False)))
    return {**optimizer, "second_moment": optimizer.get("second_moment") or published}
