"""The details of a run, which the reference format has no place for: strict figures, cost, machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from arsbench.metrics import milestones, task_name
from arsbench.report.columns import MILESTONES, STRICT, cost_columns, table, text_of
from arsbench.report.content import Record, Report
from arsbench.report.markup import escape, table_lines
from arsbench.report.reader import FENCE, JSON_FENCE

TITLE = "## Details of This Run"
EFFECTIVE = "### Effective Configuration"

_STATUS = {
    "running": "The run was not finished when this report was written; its last recorded step is {step}.",
    "finished": "The run finished after step {step}.",
    "interrupted": "**The run was interrupted after step {step}**; it can be resumed from there.",
    "non_finite": "**The run stopped after step {step}, because a value was no longer finite.**",
    "failed": "**The run failed after step {step}**; it can be resumed.",
}
_DIVERGED = (
    "**The run diverged at step {step}**: its training loss had been below the loss of a uniform prediction, "
    "and rose above twice that loss."
)

_HOW_TO_READ_LANGUAGE = """\
- **Best** is the epoch with the smallest validation loss, with that epoch's perplexity. (The first \
ARS-Bench report showed its largest loss there, by mistake.)
- **Eval Loss** and **Eval Perplexity** follow the *seed* protocol: padding counts as a target, and an \
incomplete last batch is left out. The *strict* protocol below counts real targets only, in every batch.
- **Entropy** above is divided by the vocabulary size; the entropy per token below is not."""
_HOW_TO_READ_ACCURACY = """\
- **Best** is the first epoch with the highest validation accuracy, with that epoch's loss.
- **Eval Loss** and **Eval Accuracy** are means over all pairs that are not in the training set; an accuracy \
of 1 means that every answer is right. **Train accuracy** below is the accuracy on the training batches.
- **Entropy** above is divided by the vocabulary size; the entropy per token below is not."""
_HOW_TO_READ = """\
- **PI** is exp(−(Entropy + Grad Norm)). **LR** is the learning rate of the first parameter group."""
_HOW_TO_READ_COSINES = """\
- **cos_pos_i** is the cosine between the gradient and the flatness vector at position i of the cycle, after \
the vector is injected; the injection alone adds about α/√(1+α²). *Before injection* leaves it out."""


def details_lines(report: Report) -> list[str]:
    """The section as lines of Markdown."""
    records = report.epochs
    is_accuracy = task_name(report.task) == "mod_addition"
    backends = report.environment.get("backends", {})
    facts = {name: value for name, value in report.environment.items() if name != "backends"}
    return [
        TITLE,
        *_status(report),
        "",
        *(_HOW_TO_READ_ACCURACY if is_accuracy else _HOW_TO_READ_LANGUAGE).split("\n"),
        _HOW_TO_READ,
        *([_HOW_TO_READ_COSINES] if any(record.get("diagnostics") for record in records) else ()),
        *(_milestones(records) if is_accuracy else _strict_protocol(records)),
        *_section("Cost and Diagnostics", table(cost_columns(records), records)),
        *_section(
            "Parameter Groups",
            [("Group", "Tensors", "Parameters", "Hyperparameters"), *map(_group_cells, report.groups)],
        ),
        *_section("Backends", [("Op", "Backend"), *_texts(backends)]),
        *_section("Environment", [("Fact", "Value"), *_texts(facts)]),
        "",
        EFFECTIVE,
        "The configuration with every default, without the keys that its optimizer does not have.",
        JSON_FENCE,
        *json.dumps(report.effective, indent=2).split("\n"),
        FENCE,
    ]


def _status(report: Report) -> list[str]:
    """How the run ended, with its message, and where it diverged."""
    sentence = _STATUS[report.state].format(step=format(report.step, ",d"))
    message = " ".join(report.message.split()).rstrip(".")
    if message:
        sentence += f" {escape(message[0].upper() + message[1:])}."
    if report.diverged_at is None:
        return [sentence]
    return [sentence, _DIVERGED.format(step=format(report.diverged_at, ",d"))]


def _section(title: str, rows: Sequence[Sequence[str]], introduction: Sequence[str] = ()) -> list[str]:
    """A heading and its table; a sentence in place of a table without rows."""
    body = table_lines(rows) if len(rows) > 1 else ["Nothing is recorded yet."]
    return ["", f"### {title}", *introduction, *body]


def _milestones(records: Sequence[Record]) -> list[str]:
    """The first epoch that reached each accuracy; N/A where none did."""
    rows = [
        {"target": target, **(vars(point) if point else {})} for target, point in milestones(records).items()
    ]
    introduction = "The first epoch that reached each validation accuracy, and the cost up to its end."
    return _section("Milestones", table(MILESTONES, rows), [introduction])


def _strict_protocol(records: Sequence[Record]) -> list[str]:
    """A row for each epoch, task and split that was evaluated."""
    rows = [
        {**record, "split": split, "metrics": protocols["strict"]}
        for record in records
        for split, protocols in (record.get("evaluation") or {}).items()
        if protocols.get("strict")
    ]
    return _section("Strict Protocol", table(STRICT, rows))


def _group_cells(group: dict[str, Any]) -> list[str]:
    hyperparameters = (f"{name} {text_of(value)}" for name, value in group["hyperparameters"].items())
    counts = (format(group[key], ",d") for key in ("tensors", "parameters"))
    return [group["name"], *counts, ", ".join(hyperparameters)]


def _texts(facts: dict[str, Any]) -> list[list[str]]:
    return [[name, text_of(value)] for name, value in facts.items()]
