"""What stands between runs and a fair comparison: where they differ, and what is not known of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from arsbench.analysis.contenders import WITHOUT_EFFECT, by_contender, flat, tuning
from arsbench.analysis.runs import Run
from arsbench.analysis.wording import by_value, listed, sectioned, told, without_repetition
from arsbench.errors import UserError
from arsbench.metrics import task_name

# The value of a key that a run, or the report of one, does not tell.
UNKNOWN = "unknown"

_OF_TASK = {
    "wikitext2_line": (
        "data.source",
        "data.path",
        "data.train_file",
        "data.validation_file",
        "data.test_file",
        "data.tokenizer_path",
    ),
    "mod_addition": ("data.modulus", "data.train_fraction"),
}
_DATA = (*chain.from_iterable(_OF_TASK.values()), "model.vocabulary_size", "model.sequence_length")
_BUDGET = ("train.epochs", "train.max_steps", "train.stop_at", "train.accumulate", "data.batch_size")
_MACHINE = ("device", "gpu", "cpu", "threads", "torch")
_VERSION = ("arsbench", "commit")

_STATES = {"running": "not finished", "waiting": "not begun"}


def same_task(runs: Sequence[Run]) -> str:
    """The one task of all runs, without label.

    Raises:
        UserError: there are several, or none.
    """
    tasks = by_value(runs, lambda run: task_name(run.task))
    if not tasks:
        raise UserError("there are no runs to compare; name run folders, suites or reports")
    if len(tasks) > 1:
        raise UserError(
            f"the runs are of different tasks ({told(tasks, runs)}), whose figures have nothing in common; "
            f"compare runs of one task"
        )
    return tasks[0][0]


def configuration_differences(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """The keys of which two runs tell different values, seeds left out.

    Returns:
        "section.key", and its value in each run: `UNKNOWN` where a run does not tell, None where its
        optimizer has no such key.
    """
    configs = [flat(run.config) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config if key != "experiment.seed")
    return [
        (key, [_value(config, key, run) for config, run in zip(configs, runs, strict=True)])
        for key in keys
        if len(without_repetition(config[key] for config in configs if key in config)) > 1
    ]


def warnings(runs: Sequence[Run]) -> list[str]:
    """Why figures of these runs must not be compared, or only with care; a sentence each."""
    return [
        *_protocols(runs),
        *_labels(runs),
        *_data(runs),
        *_budgets(runs),
        *_times(runs),
        *_versions(runs),
        *_untold(runs),
        *_states(runs),
        *_seeds(runs),
        *_tuned(runs),
    ]


def _protocols(runs: Sequence[Run]) -> list[str]:
    groups = by_value(
        [run for run in runs if run.epochs], lambda run: ", ".join(_protocols_of(run)) or "none"
    )
    if len(groups) < 2:
        return []
    return [
        f"The validation figures follow different protocols ({told(groups, runs)}): compare only figures of "
        f"one protocol with each other."
    ]


def _protocols_of(run: Run) -> list[str]:
    validations = [(record.get("evaluation") or {}).get("validation") or {} for record in run.epochs]
    return sorted({name for protocols in validations for name, figures in protocols.items() if figures})


def _labels(runs: Sequence[Run]) -> list[str]:
    groups = by_value(runs, lambda run: run.task)
    if len(groups) < 2:
        return []
    return [
        f"The tasks' labels differ ({told(groups, runs)}): the data is not the same, and figures of it must "
        f"not be compared."
    ]


def _data(runs: Sequence[Run]) -> list[str]:
    result = []
    differing = _differing(runs, _DATA)
    if differing:
        result.append(
            f"The data's settings differ: {differing}; unless it is the same data all the same, figures must "
            f"not be compared."
        )
    # The data may be drawn by the seed: only runs of one seed must have as many targets.
    for seed in without_repetition(run.seed for run in runs):
        groups = by_value([run for run in runs if run.seed == seed and _targets(run)], _targets)
        if len(groups) > 1:
            result.append(
                f"The validation sets differ in size (targets: {told(groups, runs)}): figures must not be "
                f"compared."
            )
            break  # the same is then true of the other seeds
    return result


def _targets(run: Run) -> int | None:
    """Of the validation set, by the protocol that counts them."""
    for record in run.epochs:
        for figures in ((record.get("evaluation") or {}).get("validation") or {}).values():
            if figures and "targets" in figures:
                return figures["targets"]
    return None


def _budgets(runs: Sequence[Run]) -> list[str]:
    differing = _differing(runs, _BUDGET)
    return [f"The budgets differ: {differing}; compare at what all of them have spent."] if differing else []


def _times(runs: Sequence[Run]) -> list[str]:
    known = [run for run in runs if run.environment]
    parts = [_differing(runs, ("train.precision",)), _differing_facts(known, _MACHINE, runs), _clocks(runs)]
    if not any(parts):
        return []
    return [f"Times and memory are not comparable: {'; '.join(filter(None, parts))}."]


def _clocks(runs: Sequence[Run]) -> str:
    """Whether evaluations can be taken out of the seconds, where that differs; "" where it does not."""

    def tells(run: Run) -> bool:
        return all(record.get("evaluation_seconds") is not None for record in run.epochs)

    groups = by_value(
        [run for run in runs if run.epochs], lambda run: "left out" if tells(run) else "included"
    )
    return f"seconds of evaluations ({told(groups, runs)})" if len(groups) > 1 else ""


def _versions(runs: Sequence[Run]) -> list[str]:
    differing = _differing_facts([run for run in runs if run.environment], _VERSION, runs)
    return [f"The runs are of different versions of the program: {differing}."] if differing else []


def _untold(runs: Sequence[Run]) -> list[str]:
    """What reports do not tell of runs that are compared with others."""
    result = []
    keys = dict.fromkeys(key for run in runs for key in flat(run.config) if key not in WITHOUT_EFFECT)
    for run in runs:
        if run.imported and len(runs) > 1:
            foreign = {key for task, own in _OF_TASK.items() if task != task_name(run.task) for key in own}
            missing = [key for key in keys if key not in flat(run.config).keys() | foreign]
            settings = f"{sectioned(missing)}, " if missing else ""
            result.append(
                f"{run.name} is a report and does not tell {settings}its machine, version, steps or passes: "
                f"whether they are those of the other runs is unknown."
            )
    return result


def _states(runs: Sequence[Run]) -> list[str]:
    groups = by_value(
        [run for run in runs if not run.whole], lambda run: _STATES.get(run.standing, run.standing)
    )
    if not groups:
        return []
    states = "; ".join(f"{words}: {listed([run.name for run in members])}" for words, members in groups)
    return [f"Not every run is complete ({states})."]


def _seeds(runs: Sequence[Run]) -> list[str]:
    contenders = by_contender([run for run in runs if run.epochs])
    if len(contenders) < 2:
        return []
    result = []
    seeds = {name: {run.seed for run in members} for name, members in contenders.items()}
    single = [name for name, known in seeds.items() if len(known) == 1]
    if single:
        result.append(
            f"One seed only of {listed(single)}: no verdict is possible, since nothing tells a difference "
            f"from chance."
        )
    known = [run for run in runs if run.epochs and run.seed is not None]
    groups = by_value(
        known,
        lambda run: ", ".join(str(seed) for seed in sorted(s for s in seeds[run.contender] if s is not None)),
    )
    if len(groups) > 1:
        result.append(f"The seeds differ ({told(groups, known)}): only seeds in common are paired.")
    return result


def _tuned(runs: Sequence[Run]) -> list[str]:
    tuned = tuning(runs)
    groups = by_value(
        runs, lambda run: f"{tuned[run.contender]['trials']} trials" if run.contender in tuned else "untuned"
    )
    result = [
        f"{contender} is left out: none of its {found['trials']} trials of tuning ended without diverging."
        for contender, found in tuned.items()
        if found["best"] is None
    ]
    if len(groups) > 1:
        result.append(
            f"Tuning was not equal ({told(groups, runs)}): a better figure may only be a better setting."
        )
    return result


def _value(config: dict[str, Any], key: str, run: Run) -> Any:
    if key in config:
        return config[key]
    # What a run in full leaves out of its optimizer's keys are other optimizers' keys.
    of_another = key.startswith("optimizer.") and not run.imported and run.state != "waiting"
    return None if of_another else UNKNOWN


def _differing(runs: Sequence[Run], keys: Sequence[str]) -> str:
    """The keys among these that differ, with their values and whose they are; "" where none does."""
    differences = dict(configuration_differences(runs))
    parts = []
    for key in keys:
        if key in differences:
            values = dict(zip((run.name for run in runs), differences[key], strict=True))
            groups = by_value(runs, lambda run, values=values: values[run.name])
            parts.append(f"{key} ({told(groups, runs)})")
    return ", ".join(parts)


def _differing_facts(known: Sequence[Run], names: Sequence[str], runs: Sequence[Run]) -> str:
    """The same for facts of the environment."""
    parts = []
    for name in names:
        groups = by_value(known, lambda run, name=name: run.environment.get(name))
        if len(groups) > 1:
            parts.append(f"{name} ({told(groups, runs)})")
    return ", ".join(parts)
