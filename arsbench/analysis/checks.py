"""Whether runs can be compared fairly: the settings in which they differ, and warnings about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

from arsbench.analysis.contenders import WITHOUT_EFFECT, by_contender, flat, tuning
from arsbench.analysis.runs import Run
from arsbench.analysis.wording import by_value, listed
from arsbench.errors import UserError
from arsbench.metrics import task_name

# The value of a key for which a run or report has no data.
UNKNOWN = "unknown"

_TASK_KEYS = {
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
_DATA = (*chain.from_iterable(_TASK_KEYS.values()), "model.vocabulary_size", "model.sequence_length")
_BUDGET = ("train.epochs", "train.max_steps", "train.stop_at", "train.accumulate", "data.batch_size")
_MACHINE = ("device", "gpu", "cpu", "threads", "torch")
_VERSION = ("arsbench", "commit")


def same_task(runs: Sequence[Run]) -> str:
    """The one task of all runs, without its label.

    Raises:
        UserError: there are several tasks, or no runs.
    """
    tasks = by_value(runs, lambda run: task_name(run.task))
    if not tasks:
        raise UserError("there are no runs to compare; name run folders, suites or reports")
    if len(tasks) > 1:
        raise UserError(f"the runs have different tasks ({_named(tasks, runs)}); compare runs of one task")
    return tasks[0][0]


def configuration_differences(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """The keys in which two runs differ, except the seed; also keys that only some optimizers have.

    Returns:
        "section.key", and its value in each run: `UNKNOWN` where a run or report has no data for it, None
        where the run's optimizer has no such key. Keys with several values come first, then keys whose only
        difference is that some optimizers lack them.
    """
    configs = [flat(run.config) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config if key != "experiment.seed")
    started = {run.contender for run in runs if run.environment}

    def effective_value(key: str, run: Run, config: dict[str, Any]) -> Any:
        # An effective configuration, which `load` also gives to a started contender's waiting runs, has every
        # key of its optimizer. A report, or a plan, may have fewer.
        effective = run.contender in started if run.state == "waiting" else not run.imported
        return config.get(key, None if effective and key.startswith("optimizer.") else UNKNOWN)

    several, lacking = [], []
    for key in keys:
        values = [effective_value(key, run, config) for run, config in zip(runs, configs, strict=True)]
        if _vary([config[key] for config in configs if key in config]):
            several.append((key, values))
        elif _vary([value for value in values if value != UNKNOWN]):
            lacking.append((key, values))
    return several + lacking


def warnings(runs: Sequence[Run]) -> list[str]:
    """Why the results of these runs must not be compared, or only with care; a sentence each."""
    measured = [run for run in runs if run.epochs]
    incomplete = [run for run in runs if not run.whole]
    tuned = tuning(runs)
    seeds = {name: {run.seed for run in members} for name, members in by_contender(measured).items()}
    if len(seeds) < 2:  # nothing to pair
        seeds = {}
    single = [name for name, numbers in seeds.items() if len(numbers) == 1]
    seeded = [run for run in measured if run.seed is not None and run.contender in seeds]

    def trials(run: Run) -> str:
        return f"{tuned[run.contender]['trials']} trials" if run.contender in tuned else "untuned"

    def seeds_of(run: Run) -> str:
        return ", ".join(map(str, sorted(seeds[run.contender] - {None})))

    def state(run: Run) -> str:
        return {"running": "unfinished", "waiting": "not started"}.get(run.standing, run.standing)

    # A sentence, and what stands in it; "" where there is nothing to warn of.
    warnings = [
        (
            "The evaluation protocols differ ({}); compare only values of the same protocol.",
            _different(measured, _protocols, runs),
        ),
        (
            "The task labels differ ({}): the data is not the same, and values must not be compared.",
            _different(runs, lambda run: run.task, runs),
        ),
        (
            "Data settings differ: {}; unless the data is the same, values must not be compared.",
            _differing_keys(runs, _DATA),
        ),
        (
            "The validation sets differ in size (targets: {}); values must not be compared.",
            _differing_targets(runs),
        ),
        ("The training budgets differ: {}; compare at an equal budget.", _differing_keys(runs, _BUDGET)),
        ("Times and memory are not comparable: {}.", _differing_times(runs)),
        ("The runs come from different versions of arsbench: {}.", _differing_facts(runs, _VERSION)),
        *(
            ("The report {}: they may differ from those of the other runs.", missing)
            for missing in _missing_data(runs)
        ),
        ("Not every run is finished ({}).", _named(by_value(incomplete, state), runs)),
        (
            "Only one seed for {}: no verdict is possible, because a difference cannot be distinguished from "
            "chance.",
            listed(single),
        ),
        ("The seeds differ ({}); only the seeds in common are paired.", _different(seeded, seeds_of, seeded)),
        *(
            ("{} is left out: all of its tuning trials diverged.", contender)
            for contender, result in tuned.items()
            if result["best"] is None
        ),
        (
            "The tuning budgets differ ({}): a better result may come from better tuning alone.",
            _different(runs, trials, runs),
        ),
    ]
    return [sentence.format(content) for sentence, content in warnings if content]


def _protocols(run: Run) -> str:
    return ", ".join(sorted({name for name, _ in _validations(run)})) or "none"


def _validations(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """The protocols of the validations after each epoch, with their figures."""
    validations = ((record.get("evaluation") or {}).get("validation") or {} for record in run.epochs)
    return [(name, figures) for protocols in validations for name, figures in protocols.items() if figures]


def _differing_targets(runs: Sequence[Run]) -> str:
    def targets(run: Run) -> int | None:
        return next((figures["targets"] for _, figures in _validations(run) if "targets" in figures), None)

    # The seed may draw the data: only runs with one seed must have the same number of targets. One seed is
    # enough: the others would repeat it.
    by_seed = by_value(runs, lambda run: run.seed)
    texts = (_different(list(filter(targets, members)), targets, runs) for _, members in by_seed)
    return next(filter(None, texts), "")


def _differing_times(runs: Sequence[Run]) -> str:
    def clock(run: Run) -> str:
        excluded = all(record.get("evaluation_seconds") is not None for record in run.epochs)
        return "excluded" if excluded else "included"

    parts = (
        _differing_keys(runs, ["train.precision"]),
        _differing_facts(runs, _MACHINE),
        _differing([run for run in runs if run.epochs], {"evaluation time": clock}, runs),
    )
    return "; ".join(filter(None, parts))


def _missing_data(runs: Sequence[Run]) -> list[str]:
    """For each report of another program: its name, and the keys that other runs have."""
    keys = dict.fromkeys(key for run in runs for key in flat(run.config) if key not in WITHOUT_EFFECT)
    result = []
    for run in runs:
        if run.imported and len(runs) > 1:
            task = task_name(run.task)
            irrelevant = set(chain.from_iterable(k for other, k in _TASK_KEYS.items() if other != task))
            missing = [key for key in keys if key not in flat(run.config).keys() | irrelevant]
            settings = f"{_sectioned(missing)}, " if missing else ""
            result.append(f"{run.name} has no data for {settings}machine, version, steps and passes")
    return result


def _differing_keys(runs: Sequence[Run], keys: Iterable[str]) -> str:
    """The configuration keys among `keys` that differ, with their values; "" where none does."""
    names = [run.name for run in runs]
    values = {key: dict(zip(names, each, strict=True)) for key, each in configuration_differences(runs)}
    differing = [key for key in keys if key in values]
    return _differing(runs, {key: lambda run, key=key: values[key][run.name] for key in differing}, runs)


def _differing_facts(runs: Sequence[Run], names: Iterable[str]) -> str:
    """The facts of the environment among `names` that differ, with their values; "" where none does."""
    recorded = [run for run in runs if run.environment]
    return _differing(
        recorded, {name: lambda run, name=name: run.environment.get(name) for name in names}, runs
    )


def _differing(runs: Sequence[Run], facts: dict[str, Callable[[Run], Any]], among: Sequence[Run]) -> str:
    """ "threads (2: AdamW; 4: ARS), cpu (...)": the facts that differ, as `_different` describes them."""
    groups = {name: _different(runs, value, among) for name, value in facts.items()}
    return ", ".join(f"{name} ({values})" for name, values in groups.items() if values)


def _different(runs: Sequence[Run], value: Callable[[Run], Any], among: Sequence[Run]) -> str:
    """ "8: AdamW; 16: ARS": the values and the runs that have them; "" where all runs have the same."""
    groups = by_value(runs, value)
    return _named(groups, among) if len(groups) > 1 else ""


def _named(groups: Iterable[tuple[Any, list[Run]]], among: Sequence[Run]) -> str:
    """The same for groups of `by_value`: a contender in place of its runs where the group has all of them.

    Args:
        among: all runs of the contenders.
    """
    contenders = by_contender(among)
    parts = []
    for value, members in groups:
        inside = {run.name for run in members}
        complete = {name for name, seeds in contenders.items() if all(run.name in inside for run in seeds)}
        names = dict.fromkeys(run.contender if run.contender in complete else run.name for run in members)
        parts.append(f"{'none' if value is None else value}: {listed(list(names))}")
    return "; ".join(parts)


def _sectioned(keys: Iterable[str]) -> str:
    """ "model.head_dim, model.type, data.path" as "model (head_dim, type), data (path)"."""
    sections = by_value((key.split(".", 1) for key in keys), lambda parts: parts[0])
    return ", ".join(f"{section} ({', '.join(name for _, name in parts)})" for section, parts in sections)


def _vary(values: list[Any]) -> bool:
    return any(values.count(value) < len(values) for value in values[:1])
