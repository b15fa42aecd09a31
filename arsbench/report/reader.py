"""Reading the text of a report line by line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from arsbench.documents import parse_json
from arsbench.errors import UserError
from arsbench.report.columns import NOT_AVAILABLE, Column
from arsbench.report.content import Record
from arsbench.report.markup import row_cells
from arsbench.runs.checks import ANYTHING, Check


class Reader:
    """A reader of a report's lines, which skips blank lines between sections; messages call it `source`.

    Attributes:
        lines: all of them, without blanks at their ends.
        number: that of the last line read, from 1; 0 before the first. Reading goes on behind it.
    """

    def __init__(self, text: str, source: str) -> None:
        self.lines = [line.rstrip() for line in text.split("\n")]
        self._source = source
        self.number = 0

    def fail(self, problem: str, number: int | None = None) -> NoReturn:
        """Refuse the report because of line `number`, by default the last line read."""
        raise UserError(
            f"{self._source}, line {number or self.number}: {problem}; "
            f"give an ARS-Bench Experiment Report that was not changed"
        )

    def require(self, check: Check, content: Any) -> None:
        """Refuse the report because of the last line read, unless its content passes the check."""
        problem = check(content, "")
        if problem is not None:
            self.fail(problem)

    def at_end(self) -> bool:
        """Whether only blank lines are left."""
        return not any(self.lines[self.number :])

    def next(self) -> str:
        """Read the next line that is not blank."""
        while (line := self._next_line()) == "":
            pass
        return line

    def _next_line(self) -> str:
        self.number += 1
        if self.number > len(self.lines):
            self.fail("the report ends too early")
        return self.lines[self.number - 1]

    def next_is_row(self) -> bool:
        """Whether the next line is a row of a table."""
        return self.number < len(self.lines) and self.lines[self.number].startswith("|")

    def expect(self, text: str) -> None:
        """Read the next line, which must be `text`."""
        if self.next() != text:
            self.fail(f"{text!r} is missing here")

    def numbers_of(self, start: str) -> list[int]:
        """The numbers of all lines of the report that start with `start`."""
        return [number for number, line in enumerate(self.lines, start=1) if line.startswith(start)]

    def expect_rule(self, columns: int) -> None:
        """Read the rule under a table's headers."""
        rule = self.cells()
        if len(rule) != columns or any(set(cell) != {"-"} for cell in rule):
            self.fail(f"the rule under the table's {columns} headers is missing here")

    def record(self, columns: Sequence[Column]) -> Record:
        """Read a table's next row into a record."""
        cells = self.cells()
        if len(cells) != len(columns):
            self.fail(f"the row has {len(cells)} cells; the table has {len(columns)} columns")
        record: Record = {}
        for column, cell in zip(columns, cells, strict=True):
            try:
                column.read(cell, record)
            except ValueError:
                self.fail(f"{cell!r} in column {column.header!r} is neither a number nor {NOT_AVAILABLE}")
        return record

    def cells(self) -> list[str]:
        """Read the next line as a row of a table; the texts of its cells."""
        try:
            return row_cells(self.next())
        except ValueError as error:
            self.fail(str(error))

    def json_object(self, name: str) -> dict[str, Any]:
        """Read a fenced block of JSON that holds an object; `name` is its name in messages."""
        self.expect("```json")
        first = self.number + 1
        block = []
        while (line := self._next_line()) != "```":
            block.append(line)
        try:
            content = parse_json("\n".join(block))
        except json.JSONDecodeError as error:
            self.fail(f"{name} is not JSON ({error.msg})", first + error.lineno - 1)
        except ValueError as error:
            self.fail(f"{name} is refused: {error}", first)
        if not isinstance(content, dict):
            self.fail(f"{name} is not a JSON object", first)
        self.require(ANYTHING, content)
        return content
