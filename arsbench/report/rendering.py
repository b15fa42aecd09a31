"""Templates of reports and pages, filled in by Jinja2."""

from __future__ import annotations

import functools
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from arsbench.report.markup import escape, table_lines

_ENVIRONMENT = Environment(
    loader=PackageLoader("arsbench", ""),
    # In Markdown, every text passes `escape`.
    autoescape=lambda name: name is not None and name.endswith(".html.j2"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters["json"] = functools.partial(json.dumps, indent=2)
_ENVIRONMENT.filters["markdown"] = escape
_ENVIRONMENT.filters["table"] = lambda rows: "\n".join(table_lines(rows))


def fill(template: str, **values: Any) -> str:
    """The template at this path in the package, with these values; what goes into HTML is escaped."""
    return _ENVIRONMENT.get_template(template).render(values)
