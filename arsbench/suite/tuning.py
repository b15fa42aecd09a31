"""Equal tuning: every contender gets the same number of trials over its own search space.

A trial is a process of its own that trains on the tuning seeds (arsbench/suite/trial.py). One study a
contender keeps them, in Optuna's journal file, which all processes share. A trial whose process was stopped
or killed stays in the study as running; whoever holds the suite's lock knows that nobody runs it, and
continues it, with what it drew. So it does with one that failed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arsbench.errors import UserError
from arsbench.metrics import METRICS, Metric, task_name
from arsbench.runs.json_files import drop_torn_line
from arsbench.suite.contender import Contender
from arsbench.suite.definition import Suite
from arsbench.suite.folder import SuiteFolder
from arsbench.suite.pool import Pool
from arsbench.suite.progress import Job, SuiteObserver
from arsbench.suite.search import Choices, Parameter

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

# A trial that fails is continued once more before the suite gives up for today.
ATTEMPTS = 2

JOURNAL = "journal.log"

NON_FINITE, STEPS, PASSES, SECONDS = "non_finite", "steps", "passes", "seconds"


def require_optuna() -> None:
    """Raise UserError where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UserError(
            "the suite has a [tuning], which needs Optuna; install it with `pip install arsbench[tuning]`"
        ) from error


def deciding_metric(suite: Suite) -> Metric:
    """What a trial is judged by."""
    return METRICS[task_name(suite.task)][0]


def open_study(directory: Path, metric: Metric, trials: int, seed: int = 0, evaluations: int = 1) -> Study:
    """The study in a contender's folder, made if it is not there.

    Args:
        directory: of the contender's trials.
        metric: gives the direction.
        trials: how many there will be; half of them are drawn at random before the sampler learns.
        seed: of the sampler; another one for every trial, or two that begin at once would be the same.
        evaluations: of a trial that is not pruned, which the process of a trial must know.

    Raises:
        UserError: its journal is damaged.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directory.mkdir(parents=True, exist_ok=True)
    journal = directory / JOURNAL
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    try:
        storage = optuna.storages.JournalStorage(backend)
    except (ValueError, KeyError) as error:  # no JSON, or not Optuna's
        raise UserError(f"{journal} is damaged ({error}); restore the file") from error
    return optuna.create_study(
        storage=storage,
        study_name=directory.name,
        direction="maximize" if metric.higher_is_better else "minimize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=max(1, trials // 2), constant_liar=True
        ),
        # The better half goes on after an eighth of a trial, a quarter and a half: none is judged by its very
        # beginning, where small rates look worse than they are.
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=math.ceil(evaluations / 8), reduction_factor=2
        ),
    )


def suggest(trial: Trial, search: dict[str, Parameter]) -> dict[str, Any]:
    """The trial's values of the section `optimizer`."""
    return {key: _decoded(parameter, _draw(trial, key, parameter)) for key, parameter in search.items()}


def tune(
    suite: Suite, folder: SuiteFolder, pool: Pool, evaluations: dict[str, int], observer: SuiteObserver
) -> bool:
    """Run the trials that are missing; once all are there, write the best into the plan.

    A contender of which every trial diverged or was pruned is recorded as a failure, and the others
    are compared without it.

    Args:
        suite, folder, pool, observer: as in `runner.run_suite`.
        evaluations: of a whole trial, by contender.

    Returns:
        whether tuning is over: False after Ctrl-C and where trials keep failing.

    Raises:
        UserError: a journal is damaged.
    """
    if folder.tuning is not None:
        return True
    for contender in suite.contenders:  # no process is at them: the suite's lock is held
        drop_torn_line(folder.trials(contender) / JOURNAL)
    for _ in range(ATTEMPTS):
        jobs, done = _missing(suite, folder, evaluations)
        if not jobs:
            break
        pool.run("trials", jobs, done)
        if pool.interrupted:
            return False
    if _missing(suite, folder, evaluations)[0]:
        return False
    for name in folder.failures():  # of trials that went well, or were replaced, at the second attempt
        folder.forget_failure(name)
    found = {contender.name: _summary(suite, folder, contender) for contender in suite.contenders}
    for contender in suite.contenders:
        figures = found[contender.name]
        if figures["best"] is None:
            message = (
                f"none of its {figures['trials']} trials ended without diverging; "
                f"search smaller values, in another folder"
            )
            folder.record_failure(f"{contender.slug}-tuning", message, 1)
            observer.message(f"{contender.name}: {message}")
        else:
            best = ", ".join(f"{key} {value}" for key, value in figures["best"].items())
            observer.message(f"{contender.name}: best of {figures['trials']} trials: {best}")
    tuning = {"trials": suite.tuning.trials, "seeds": list(suite.tuning.seeds), "contenders": found}
    steps = {run.contender: run.steps for run in folder.runs}
    folder.plan(suite, steps, folder.threads, tuning)
    return True


def _missing(suite: Suite, folder: SuiteFolder, evaluations: dict[str, int]) -> tuple[list[Job], int]:
    """A job for every trial that was stopped or never begun, and how many are over."""
    jobs, done = [], 0
    for contender in suite.contenders:
        trials = open_study(folder.trials(contender), deciding_metric(suite), suite.tuning.trials).trials
        over = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials)
        stopped = [trial.number for trial in trials if trial.state.name == "RUNNING"]
        new = range(len(trials), len(trials) + suite.tuning.trials - over - len(stopped))
        done += over
        extent = f"--evaluations={evaluations[contender.name]}"
        own = [_job(contender, number, extent, "--continue") for number in stopped]
        own += [_job(contender, number, extent) for number in new]
        jobs += enumerate(own)
    # Every contender's next trial, then every contender's next but one, ...
    return [job for _, job in sorted(jobs, key=lambda entry: entry[0])], done


def _job(contender: Contender, number: int, *options: str) -> Job:
    return Job(
        f"{contender.slug}-trial-{number}",
        contender.name,
        "arsbench.suite.trial",
        (f"--contender={contender.name}", f"--number={number}", *options),
    )


def _summary(suite: Suite, folder: SuiteFolder, contender: Contender) -> dict[str, Any]:
    """What the plan says of a contender's trials."""
    study = open_study(folder.trials(contender), deciding_metric(suite), suite.tuning.trials)
    over = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    complete = [trial for trial in over if trial.state.name == "COMPLETE"]
    best = study.best_trial if complete else None
    return {
        "trials": len(over),
        "pruned": len(over) - len(complete),
        "non_finite": sum(NON_FINITE in trial.user_attrs for trial in over),
        "steps": _total(over, STEPS),
        "passes": _total(over, PASSES),
        "seconds": _total(over, SECONDS),
        "best": best and {key: _decoded(own, best.params[key]) for key, own in contender.search.items()},
        "value": best and best.value,
    }


def _total(trials: list[FrozenTrial], what: str) -> float:
    return sum(trial.user_attrs[what] for trial in trials)


def _draw(trial: Trial, key: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choices):
        # As JSON, because Optuna takes no lists.
        return trial.suggest_categorical(key, [json.dumps(value) for value in parameter.values])
    draw = trial.suggest_int if parameter.whole else trial.suggest_float
    return draw(key, parameter.low, parameter.high, log=parameter.log)


def _decoded(parameter: Parameter, value: Any) -> Any:
    return json.loads(value) if isinstance(parameter, Choices) else value
