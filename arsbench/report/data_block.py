"""The last section of a report: the run's figures in full precision, as one block of JSON.

The records of epochs, and of evaluations within epochs, are complete: comparisons and validation curves need
them. Logged steps are left out: a thousand of them are 500 kB, too much for a document that people read; a
curve of the training loss has a point per epoch then. NaN and the infinities are strings, as in run folders.
"""

from __future__ import annotations

import json
from typing import Any

from arsbench.report.content import Report
from arsbench.report.reader import FENCE, JSON_FENCE, Reader
from arsbench.runs import checks
from arsbench.runs.json_files import decode, encode

TITLE = "## Run Data"
_INTRODUCTION = (
    "The figures above in full precision: `arsbench compare` and `arsbench report --from-markdown` read this "
    "block. Do not edit it."
)
_FORMAT = 1
_CHECKS = {
    "state": checks.one_of([state for state in checks.STATES if state != "imported"]),
    "step": checks.WHOLE,
    "message": checks.TEXT,
    "diverged_at": checks.optional(checks.WHOLE),
    "effective": checks.TABLES,
    "environment": checks.ENVIRONMENT,
    "groups": checks.GROUPS,
    "evaluations": checks.lines(checks.EVALUATIONS),
    "epochs": checks.lines(checks.EPOCHS),
}
_FORMAT_CHECK = checks.kind(
    f"{_FORMAT}, the format of this version of arsbench", lambda value: value == _FORMAT
)


def data_lines(report: Report) -> list[str]:
    """The section as lines of Markdown: a line for each field, and for each entry of a list."""
    fields = {"format": _FORMAT} | {name: getattr(report, name) for name in _CHECKS}
    texts = [f'"{name}": {_json(value)}' for name, value in encode(fields).items()]
    block = "{\n" + ",\n".join(texts) + "\n}"
    return [TITLE, _INTRODUCTION, JSON_FENCE, *block.split("\n"), FENCE]


def read_data(reader: Reader, config: dict[str, Any]) -> Report:
    """Read the section, whose title has been read.

    Args:
        reader: a reader of the lines after the title.
        config: the report's configuration as written.

    Raises:
        UserError: the section is damaged; the message names line and problem.
    """
    reader.next()  # the introduction
    content = decode(reader.json_object("the data block"))
    reader.require(checks.record({"format": _FORMAT_CHECK, **_CHECKS}), content)
    return Report(config, **{name: content[name] for name in _CHECKS})


def _json(value: Any) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(json.dumps(entry, allow_nan=False) for entry in value) + "\n]"
    return json.dumps(value, allow_nan=False)
