"""The templates of a page and of reports in Markdown, filled in by Jinja2."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from arsbench.report.markup import escape

_ENVIRONMENT = Environment(
    loader=PackageLoader("arsbench.pages"),
    autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["markdown"] = escape


def fill(template: str, **values: Any) -> str:
    """The template of this name in `templates`, with these values; what goes into HTML is escaped."""
    return _ENVIRONMENT.get_template(template).render(values)
