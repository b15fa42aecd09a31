"""What the files of a run and of a suite must hold, in one place, for every command that reads them.

A check takes a value and what it is called in a message; it returns what is wrong with it, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from arsbench.characters import printable
from arsbench.errors import UserError
from arsbench.runs.json_files import read_json

Check = Callable[[Any, str], str | None]
LineCheck = Callable[[Any, Any], str | None]

_LARGEST = 2**53  # a float holds every whole number up to it
_SHOWN = 40  # characters of a wrong value


def kind(words: str, holds: Callable[[Any], bool]) -> Check:
    """A check of a single value; `words` say what it must be."""
    return lambda value, name: None if holds(value) else f"{name} is {_shown(value)}; it must be {words}"


def one_of(choices: Collection[str]) -> Check:
    """One of these texts."""
    return kind(f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value in choices)


def optional(check: Check) -> Check:
    """None, or what `check` says."""
    return lambda value, name: None if value is None else check(value, name)


def table(each: Check) -> Check:
    """An object whose values are all of one kind."""

    def check(value: Any, name: str) -> str | None:
        if not isinstance(value, dict):
            return f"{name} is {_shown(value)}; it must be an object"
        return _first(each(entry, _joined(name, key)) for key, entry in value.items())

    return check


def record(required: Mapping[str, Check], others: Mapping[str, Check] | None = None) -> Check:
    """An object with keys of their own kinds; `others` may be missing, and unknown keys hold anything."""
    known = {**required, **(others or {})}

    def check(value: Any, name: str) -> str | None:
        if not isinstance(value, dict):
            return f"{name or 'it'} is {_shown(value)}; it must be an object"
        missing = [key for key in required if key not in value]
        if missing:
            return f"{_joined(name, missing[0])} is missing"
        return _first(known.get(key, ANYTHING)(entry, _joined(name, key)) for key, entry in value.items())

    return check


def sequence(each: Check, least: int = 0) -> Check:
    """A list of entries of one kind, `least` at least."""

    def check(value: Any, name: str) -> str | None:
        if not isinstance(value, list) or len(value) < least:
            return f"{name or 'it'} is {_shown(value)}; it must be a list{' of one entry or more' * least}"
        return _first(each(entry, f"{name}[{place}]") for place, entry in enumerate(value))

    return check


def anything(value: Any, name: str) -> str | None:
    """Any value, whose numbers a float can hold, since other programs are given them as such."""
    if isinstance(value, dict):
        return _first(anything(entry, _joined(name, key)) for key, entry in value.items())
    if isinstance(value, list):
        return _first(anything(entry, f"{name}[{place}]") for place, entry in enumerate(value))
    if isinstance(value, int) and abs(value) > 2**64:
        return f"{name} is {_shown(value)}; it must be a number below 2⁶⁴"
    return None


def _whole(least: int) -> Check:
    return kind(
        f"a whole number from {least} to 2⁵³", lambda value: type(value) is int and least <= value <= _LARGEST
    )


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= _LARGEST)


ANYTHING = anything
WHOLE, POSITIVE = _whole(0), _whole(1)
SEED = kind("a whole number from 0 to 2⁶³", lambda value: type(value) is int and 0 <= value < 2**63)
NUMBER = kind("a number", _is_number)
AMOUNT = kind("a number from 0 to 10¹⁵", lambda value: _is_number(value) and 0 <= value <= 1e15)
TEXT = kind("a text", lambda value: isinstance(value, str))
NAME = kind("a text that is not empty", lambda value: isinstance(value, str) and value != "")
TABLE = kind("an object", lambda value: isinstance(value, dict))
TRUTH = kind("true or false", lambda value: isinstance(value, bool))

FIGURES = record({}, dict.fromkeys(("targets", "bytes", "words"), optional(WHOLE)))


def _figures(value: Any, name: str) -> str | None:
    """A protocol's figures by name."""
    return FIGURES(value, name) or table(optional(NUMBER))(value, name)


_EVALUATION = table(table(optional(_figures)))
_OF_STEP = dict.fromkeys(("loss", "lr", "grad_norm", "entropy_nats", "accuracy"), optional(NUMBER))
_OF_EPOCH = dict.fromkeys(
    (
        "train_loss", "lr", "pi", "effective_gamma", "entropy", "entropy_nats", "grad_norm",
        "tokens_per_second", "train_accuracy", "peak_gpu_mib", "peak_rss_mib",
    ),
    optional(NUMBER),
)  # fmt: skip
_SPENT = {
    "step": optional(WHOLE),
    "forward_backward_passes": optional(WHOLE),
    "tokens": optional(WHOLE),
    **dict.fromkeys(("seconds", "epoch_seconds", "evaluation_seconds"), optional(AMOUNT)),
    "diagnostics": optional(table(optional(NUMBER))),
    "evaluation": optional(_EVALUATION),
}

STEP = record({"step": POSITIVE}, _SPENT | _OF_STEP | {"step": POSITIVE, "epoch": POSITIVE})
EPOCH = record({"epoch": WHOLE, "task": NAME}, _SPENT | _OF_EPOCH)
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


def _in_order(check: Check, key: str, follows: Callable[[Any, Any], bool]) -> LineCheck:
    """A check of lines that come in the order of `key`."""

    def check_line(line: Any, before: Any) -> str | None:
        problem = check(line, "")
        if problem is None and before is not None and not follows(line, before):
            return f"{key} {line[key]} follows {key} {before[key]}"
        return problem

    return check_line


# Of each file of one record a line: what a record must be after the one before it (None for the first).
STEPS = _in_order(STEP, "step", lambda line, before: line["step"] > before["step"])
# A run of several tasks, which a report may tell of, has its records by epoch or by task.
EPOCHS = _in_order(
    EPOCH, "epoch", lambda line, before: line["epoch"] > before["epoch"] or line["task"] != before["task"]
)
EVALUATIONS = _in_order(EVALUATION, "step", lambda line, before: line["step"] > before["step"])

TABLES = table(table(ANYTHING))
ENVIRONMENT = record({}, {"backends": table(ANYTHING)})
GROUPS = sequence(
    record({"name": TEXT, "tensors": WHOLE, "parameters": WHOLE, "hyperparameters": table(ANYTHING)})
)

# Folders and files are made, and left-overs removed, by these names.
_FOLDER = kind(
    "a path inside the suite's folder",
    lambda value: isinstance(value, str) and _is_inside(value),
)
_JOB = kind(
    "a name of letters, digits and hyphens",
    lambda value: isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value) is not None,
)
_PLANNED = record(
    {
        "name": _JOB,
        "contender": NAME,
        "folder": _FOLDER,
        "config": record({"experiment": record({"seed": SEED, "tasks": sequence(NAME, least=1)})}, {}),
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
        "base": TABLES,
        "baseline": optional(NAME),
        "threads": POSITIVE,
        "tuning": optional(record({"contenders": table(_TUNED)})),
    },
)
FAILURE = record({"message": TEXT})

# A checkpoint's state.pt.
TRAINING_STATE = record(
    {
        "optimizer": TABLE,
        "random": TABLE,
        "step": WHOLE,
        "epoch_step": WHOLE,
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


def read_checked(path: Path, check: Check) -> dict[str, Any]:
    """The JSON object at `path`.

    Raises:
        UserError: it cannot be read, or is damaged; the message names file and problem.
    """
    content = read_json(path, dict)
    require(check, content, path)
    return content


def require(check: Check, content: Any, where: object) -> None:
    """Raise UserError where `content`, read from `where`, is not what `check` wants."""
    problem = check(content, "")
    if problem is not None:
        raise damage(where, problem)


def damage(where: object, problem: str) -> UserError:
    """The error that says what is wrong with a file, or a line of it."""
    return UserError(f"{where} is damaged: {problem}; restore the file")


def _first(problems: Any) -> str | None:
    return next((problem for problem in problems if problem is not None), None)


def _joined(name: str, key: Any) -> str:
    shown = _shortened(printable(str(key)))
    return f"{name}.{shown}" if name else shown


def _shown(value: Any) -> str:
    return _shortened(printable(repr(value)))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_inside(path: str) -> bool:
    return path != "" and "\0" not in path and not path.startswith("/") and ".." not in Path(path).parts
