"""The lines of a report that is read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from arsbench.documents import parse_json
from arsbench.errors import UserError
from arsbench.report.columns import NOT_AVAILABLE, Column, Record
from arsbench.report.markup import row_cells
from arsbench.runs.checks import ANYTHING, Check

JSON_FENCE, FENCE = "```json", "```"


class Lines:
    """The lines of a report, read one by one; blank ones are skipped between sections."""

    def __init__(self, text: str, source: str) -> None:
        self._lines = [line.rstrip() for line in text.split("\n")]
        self._source = source
        self.number = 0  # of the line read last, from 1

    def fail(self, problem: str, number: int | None = None) -> NoReturn:
        """Refuse the report for a problem in line `number`, by default the one read last."""
        raise UserError(
            f"{self._source}, line {number or self.number}: {problem}; "
            f"give an ARS-Bench Experiment Report as it was written"
        )

    def require(self, check: Check, content: Any) -> None:
        """Refuse the report for what the line read last has told, unless it is what `check` wants."""
        problem = check(content, "")
        if problem is not None:
            self.fail(problem)

    def at_end(self) -> bool:
        """Whether only blank lines are left."""
        return not any(self._lines[self.number :])

    def next(self) -> str:
        """The next line that is not blank."""
        while (line := self.next_raw()) == "":
            pass
        return line

    def next_raw(self) -> str:
        """The next line, blank or not."""
        self.number += 1
        if self.number > len(self._lines):
            self.fail("the report ends too early")
        return self._lines[self.number - 1]

    def next_is_row(self) -> bool:
        """Whether a table goes on."""
        return self.number < len(self._lines) and self._lines[self.number].startswith("|")

    def expect(self, text: str) -> None:
        """Read a line that must be `text`."""
        if self.next() != text:
            self.fail(f"{text!r} should stand here")

    def expect_rule(self, columns: int) -> None:
        """The rule under a table's headers."""
        rule = self.cells()
        if len(rule) != columns or any(set(cell) != {"-"} for cell in rule):
            self.fail("the rule under the table's headers, of as many cells, should stand here")

    def record(self, columns: Sequence[Column]) -> Record:
        """A table's next row, as what its cells say."""
        cells = self.row(len(columns))
        record: Record = {}
        for column, cell in zip(columns, cells, strict=True):
            try:
                column.read(cell, record)
            except ValueError:
                self.fail(f"{cell!r} in column {column.header!r} is neither a number nor {NOT_AVAILABLE}")
        return record

    def row(self, columns: int) -> list[str]:
        """The cells of a table's next row."""
        cells = self.cells()
        if len(cells) != columns:
            self.fail(f"the row has {len(cells)} cells and the table {columns} columns")
        return cells

    def cells(self) -> list[str]:
        """The cells of the next line."""
        try:
            return row_cells(self.next())
        except ValueError as error:
            self.fail(str(error))

    def json_object(self) -> dict[str, Any]:
        """What a fenced block of JSON holds."""
        self.expect(JSON_FENCE)
        first = self.number + 1
        block = []
        while (line := self.next_raw()) != FENCE:
            block.append(line)
        try:
            content = parse_json("\n".join(block))
        except json.JSONDecodeError as error:
            self.fail(f"the configuration is not JSON ({error.msg})", first + error.lineno - 1)
        except ValueError as error:
            self.fail(f"the configuration is refused: {error}", first)
        if not isinstance(content, dict):
            self.fail("the configuration is not a JSON object", first)
        self.require(ANYTHING, content)
        return content
