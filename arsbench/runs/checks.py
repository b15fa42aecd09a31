"""Validation of the files of runs and suites, in one place for every command that reads them.

A check takes a value and its name in messages, and returns what is wrong with it, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from arsbench.errors import UserError, printable
from arsbench.runs.json_files import read_json

Check = Callable[[Any, str], str | None]
# The record of a line, the record before it (None for the first), and the record's name in messages.
LineCheck = Callable[[Any, Any, str], str | None]

_LARGEST = 2**53  # a float can hold every whole number up to this one
_SHOWN = 40  # characters of a value in a message


def kind(expected: str, holds: Callable[[Any], bool]) -> Check:
    """A check of a single value; `expected` says what it must be."""
    return lambda value, name: None if holds(value) else _wrong(value, name, expected)


def one_of(choices: Collection[str]) -> Check:
    """One of these texts."""
    return kind(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)


def optional(check: Check) -> Check:
    """None, or a value that passes `check`."""
    return lambda value, name: None if value is None else check(value, name)


def anything(value: Any, name: str) -> str | None:
    """Any value, unless it holds a whole number that is too large for a float or for other programs."""
    if isinstance(value, dict):
        return _first(anything(entry, _joined(name, key)) for key, entry in value.items())
    if isinstance(value, list):
        return _first(anything(entry, f"{name}[{place}]") for place, entry in enumerate(value))
    if isinstance(value, int) and abs(value) > 2**64:
        return _wrong(value, name, "a number below 2⁶⁴")
    return None


def record(
    required: Mapping[str, Check], others: Mapping[str, Check] | None = None, rest: Check = anything
) -> Check:
    """An object with checked keys: the `others` may be missing, and further keys must pass `rest`."""
    checks = {**(others or {}), **required}

    def check(value: Any, name: str) -> str | None:
        if not isinstance(value, dict):
            return _wrong(value, name, "an object")
        missing = (f"{_joined(name, key)} is missing" for key in required if key not in value)
        entries = ((checks.get(key, rest), _joined(name, key), entry) for key, entry in value.items())
        return next(missing, None) or _first(check(entry, key) for check, key, entry in entries)

    return check


def table(each: Check) -> Check:
    """An object whose values all pass the same check."""
    return record({}, rest=each)


def sequence(each: Check, least: int = 0) -> Check:
    """A list of at least `least` (0 or 1) entries that all pass the same check."""
    return lines(lambda entry, _before, name: each(entry, name), least)


def lines(each: LineCheck, least: int = 0) -> Check:
    """A list like the lines of a file: each entry is checked together with the entry before it."""

    def check(value: Any, name: str) -> str | None:
        if not isinstance(value, list) or len(value) < least:
            return _wrong(value, name, f"a list{' of one entry or more' * least}")
        pairs = enumerate(pairwise([None, *value]))
        return _first(each(entry, before, f"{name}[{place}]") for place, (before, entry) in pairs)

    return check


def _whole(least: int) -> Check:
    return kind(
        f"a whole number from {least} to 2⁵³", lambda value: type(value) is int and least <= value <= _LARGEST
    )


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= _LARGEST)


def _is_inside(path: Any) -> bool:
    is_relative = isinstance(path, str) and path != "" and "\0" not in path and not path.startswith("/")
    return is_relative and ".." not in Path(path).parts


ANYTHING = anything
WHOLE, POSITIVE = _whole(0), _whole(1)
SEED = kind("a whole number from 0 to 2⁶³", lambda value: type(value) is int and 0 <= value < 2**63)
NUMBER = kind("a number", _is_number)
AMOUNT = kind("a number from 0 to 10¹⁵", lambda value: _is_number(value) and 0 <= value <= 1e15)
TEXT = kind("a text", lambda value: isinstance(value, str))
NAME = kind("a text that is not empty", lambda value: isinstance(value, str) and value != "")
TABLE = kind("an object", lambda value: isinstance(value, dict))
TRUTH = kind("true or false", lambda value: isinstance(value, bool))

# By split, protocol and name.
_FIGURES = record({}, dict.fromkeys(("targets", "bytes", "words"), optional(WHOLE)), rest=optional(NUMBER))
_EVALUATION = table(table(optional(_FIGURES)))
_RECORD = {
    **dict.fromkeys(("loss", "loss_strict", "accuracy", "lr", "grad_norm"), optional(NUMBER)),
    **dict.fromkeys(("train_loss", "train_loss_strict", "train_accuracy"), optional(NUMBER)),
    **dict.fromkeys(("entropy", "entropy_nats", "pi", "effective_gamma"), optional(NUMBER)),
    **dict.fromkeys(("tokens_per_second", "peak_gpu_mib", "peak_rss_mib"), optional(NUMBER)),
    **dict.fromkeys(("step", "forward_backward_passes", "tokens"), optional(WHOLE)),
    **dict.fromkeys(("seconds", "epoch_seconds", "evaluation_seconds"), optional(AMOUNT)),
    "diagnostics": optional(table(optional(NUMBER))),
    "evaluation": optional(_EVALUATION),
}
STEP = record({"step": POSITIVE}, _RECORD | {"epoch": POSITIVE})
EPOCH = record({"epoch": WHOLE, "task": NAME}, _RECORD)
EVALUATION = record(
    {
        "epoch": POSITIVE,
        "step": WHOLE,
        "forward_backward_passes": WHOLE,
        "epoch_seconds": AMOUNT,
        "evaluation": _EVALUATION,
    },
    {"evaluation_seconds": AMOUNT},
)


def _in_order(check: Check, key: str, restart: str = "") -> LineCheck:
    """A check of lines whose `key` grows; it may restart where the value of the key `restart` changes."""

    def check_line(line: Any, before: Any, name: str) -> str | None:
        problem = check(line, name)
        if problem or before is None or line[key] > before[key] or line.get(restart) != before.get(restart):
            return problem
        return f"{_joined(name, key)} {line[key]} follows {key} {before[key]}"

    return check_line


STEPS = _in_order(STEP, "step")
# A report may hold a run of several tasks, whose records come by epoch or by task.
EPOCHS = _in_order(EPOCH, "epoch", restart="task")
EVALUATIONS = _in_order(EVALUATION, "step")

# "imported": read from a report that has the sections of the reference format alone.
STATES = ("running", "finished", "interrupted", "non_finite", "failed", "imported")
STATUS = record(
    {"state": one_of(STATES), "step": WHOLE},
    {"message": TEXT, "records": table(WHOLE), "diverged_at": WHOLE, "from_report": TRUTH},
)
TABLES = table(table(ANYTHING))
ENVIRONMENT = record({}, {"backends": table(ANYTHING)})
GROUPS = sequence(
    record({"name": TEXT, "tensors": WHOLE, "parameters": WHOLE, "hyperparameters": table(ANYTHING)})
)

# Folders and files are made, and temporary files removed, by a planned run's names.
_PLANNED = record(
    {
        "name": kind(
            "a name of letters, digits and hyphens",
            lambda value: isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value) is not None,
        ),
        "contender": NAME,
        "folder": kind("a path inside the suite's folder", _is_inside),
        "config": record({"experiment": record({"seed": SEED, "tasks": sequence(NAME, least=1)})}),
    },
    {"steps": POSITIVE},
)
_TUNED = record(
    {"trials": WHOLE, "best": optional(table(ANYTHING))},
    {
        **dict.fromkeys(("pruned", "non_finite"), WHOLE),
        **dict.fromkeys(("steps", "passes", "seconds"), AMOUNT),
        "value": optional(NUMBER),
    },
)
PLAN = record(
    {"name": NAME, "runs": sequence(_PLANNED)},
    {
        "version": NAME,
        "suite": table(ANYTHING),
        "base": record({}, {"experiment": record({}, {"tasks": sequence(TEXT, 1)})}, rest=table(ANYTHING)),
        "baseline": optional(NAME),
        "threads": POSITIVE,
        "tuning": optional(record({"contenders": table(_TUNED)})),
    },
)
FAILURE = record({"message": TEXT})

# A checkpoint's state.pt.
TRAINING_STATE = record(
    {
        **dict.fromkeys(("optimizer", "random"), TABLE),
        **dict.fromkeys(("step", "epoch_step"), WHOLE),
        "metrics": table(optional(NUMBER)),
        "data": table(TEXT),
    },
    {
        "target_reached": TRUTH,
        "optimizer_name": NAME,
        "ops": sequence(TEXT),
        "divergence": record({"learned": TRUTH, "step": optional(WHOLE)}),
    },
)


def read_checked(path: Path, check: Check, expected: type = dict) -> Any:
    """The JSON document at `path`, which must be of type `expected` (dict or list).

    Raises:
        UserError: it cannot be read, or is damaged; the message names file and problem.
    """
    content = read_json(path, expected)
    require(check, content, path)
    return content


def require(check: Check, content: Any, where: object) -> None:
    """Raise UserError unless `content`, which was read from `where`, passes the check."""
    problem = check(content, "")
    if problem is not None:
        raise UserError(f"{where} is damaged: {problem}; restore the file")


def _wrong(value: Any, name: str, expected: str) -> str:
    return f"{name or 'it'} is {_shortened(printable(repr(value)))}; it must be {expected}"


def _first(problems: Iterable[str | None]) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _joined(name: str, key: Any) -> str:
    shown = _shortened(printable(str(key)))
    return f"{name}.{shown}" if name else shown


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
