"""What the seed report could not tell: how to read it, the task's own figures, cost, groups, machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from arsbench.metrics import milestones, task_name
from arsbench.report.columns import (
    MILESTONES,
    STRICT,
    Record,
    cost_columns,
    table,
    text_of,
)
from arsbench.report.markup import escape, table_lines
from arsbench.runs.folder import RunFolder

TITLE = "## Details of This Run"
OF_MILESTONES = "### Milestones"
OF_STRICT_PROTOCOL = "### Strict Protocol"
OF_COST = "### Cost and Diagnostics"
OF_GROUPS, GROUPS = "### Parameter Groups", ("Group", "Tensors", "Parameters", "Hyperparameters")
OF_BACKENDS, BACKENDS = "### Backends", ("Op", "Backend")
OF_ENVIRONMENT, ENVIRONMENT = "### Environment", ("Fact", "Value")
OF_EFFECTIVE = "### Effective Configuration"
NOTHING = "Nothing is recorded yet."

STATUS = {
    "running": "The run had not finished when this was written; its last recorded step is {step}.",
    "finished": "The run finished after step {step}.",
    "interrupted": "**The run was interrupted after step {step}** and can be resumed from there.",
    "non_finite": "**The run stopped after step {step}, because a number in it was no longer finite.**",
    "failed": "**The run failed after step {step}** and can be resumed.",
}
DIVERGED = (
    "**The run diverged at step {step}**: its training loss had been below that of a uniform prediction, and "
    "was now more than twice as high as that."
)

_HOW_TO_READ_LANGUAGE = """\
- **Best** above is the epoch with the smallest validation loss, and that epoch's perplexity. (The seed \
report, the first of this form, printed its largest loss there, by a slip.)
- **Eval Loss** and **Eval Perplexity** above follow the *seed* protocol: padding counts as a target, and an \
incomplete last batch is left out. The *strict* protocol below counts real targets only, and every batch.
- **Entropy** above is divided by the size of the vocabulary; the entropy per token below is not."""
_HOW_TO_READ_ACCURACY = """\
- **Best** above is the first epoch with the highest validation accuracy, and that epoch's loss.
- **Eval Loss** and **Eval Accuracy** above are means over every pair that was not trained on; an accuracy \
of 1 is every answer right. **Train accuracy** below is that of the training steps' own predictions.
- **Entropy** above is divided by the number of tokens to choose from; the entropy per token below is not."""
_HOW_TO_READ = """\
- **PI** is exp(−(Entropy + Grad Norm)). **LR** is that of the first parameter group."""
_HOW_TO_READ_COSINES = """\
- **cos_pos_i** is the cosine between the gradient and the flatness vector at position i of the cycle. Above \
it is measured after the vector is injected, which by itself adds about α/√(1+α²); *before* below is the \
cosine before that."""


def details_lines(run: RunFolder, task: str) -> list[str]:
    """The report's last section, as lines of Markdown; `task` is the run's."""
    records = run.epochs()
    of_accuracy = task_name(task) == "mod_addition"
    environment = run.environment
    backends = environment.get("backends", {})
    facts = {name: value for name, value in environment.items() if name != "backends"}
    cosines = any(record.get("diagnostics") for record in records)
    return [
        TITLE,
        _status_sentence(run.status),
        *_divergence(run.status),
        "",
        *(_HOW_TO_READ_ACCURACY if of_accuracy else _HOW_TO_READ_LANGUAGE).split("\n"),
        *_HOW_TO_READ.split("\n"),
        *(_HOW_TO_READ_COSINES.split("\n") if cosines else ()),
        *(_milestones(records) if of_accuracy else _strict_protocol(records)),
        *_section(OF_COST, table(cost_columns(records), records)),
        *_section(OF_GROUPS, [GROUPS, *map(_group_cells, run.groups)]),
        *_section(OF_BACKENDS, [BACKENDS, *([op, text_of(name)] for op, name in backends.items())]),
        *_section(OF_ENVIRONMENT, [ENVIRONMENT, *([key, text_of(value)] for key, value in facts.items())]),
        "",
        OF_EFFECTIVE,
        "The configuration above with every default, without keys that its optimizer does not have.",
        "```json",
        *json.dumps(run.effective, indent=2).split("\n"),
        "```",
    ]


def _status_sentence(status: dict[str, Any]) -> str:
    """How the run stands, in a sentence, with the message that was left with it."""
    sentence = STATUS[status["state"]].format(step=format(status["step"], ",d"))
    message = " ".join(status.get("message", "").split()).rstrip(".")
    return f"{sentence} {escape(message[0].upper() + message[1:])}." if message else sentence


def _divergence(status: dict[str, Any]) -> list[str]:
    """Where the run diverged, if it has."""
    step = status.get("diverged_at")
    return [] if step is None else [DIVERGED.format(step=format(step, ",d"))]


def _section(heading: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """A heading and its table, or a word in its place where there is nothing to show."""
    return ["", heading, *(table_lines(rows) if len(rows) > 1 else [NOTHING])]


def _milestones(records: Sequence[Record]) -> list[str]:
    """The first epoch of each accuracy, N/A where none was."""
    rows = [
        {"target": target, **(vars(point) if point else {})} for target, point in milestones(records).items()
    ]
    return [
        "",
        OF_MILESTONES,
        "The first epoch whose validation accuracy was as high, and what had been spent at its end.",
        *table_lines(table(MILESTONES, rows)),
    ]


def _strict_protocol(records: Iterable[Record]) -> list[str]:
    """A row for each epoch, task and split that it was computed on."""
    rows = [
        {**record, "split": split, "metrics": protocols["strict"]}
        for record in records
        for split, protocols in (record.get("evaluation") or {}).items()
        if protocols.get("strict")
    ]
    return _section(OF_STRICT_PROTOCOL, table(STRICT, rows))


def _group_cells(group: dict[str, Any]) -> list[str]:
    hyperparameters = (f"{name} {text_of(value)}" for name, value in group["hyperparameters"].items())
    return [
        group["name"],
        format(group["tensors"], ",d"),
        format(group["parameters"], ",d"),
        ", ".join(hyperparameters),
    ]
