"""Equal tuning: every contender gets the same number of trials over its search space.

A trial is a process that trains on the tuning seeds (arsbench/suite/trial.py). One Optuna study per contender
keeps the trials, in a journal file that all processes share. A trial whose process was stopped or killed, or
failed, stays in the study as running. Whoever holds the suite's lock knows that no process runs it, and
continues it with the values that it drew.
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
from arsbench.suite.file import Suite
from arsbench.suite.folder import SuiteFolder
from arsbench.suite.processes import Job, Pool, SuiteObserver
from arsbench.suite.search import Choices, Parameter

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import JournalStorage
    from optuna.trial import BaseTrial, Trial

# A failed trial is continued once more before `tune` gives up.
ATTEMPTS = 2

JOURNAL = "journal.log"

# User attributes of a trial, in Optuna's journal and in the plan.
NON_FINITE = "non_finite"
COSTS = ("steps", "passes", "seconds")


def require_optuna() -> None:
    """Raise UserError if Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UserError(
            "the suite has a [tuning], which needs Optuna; install it with `pip install arsbench[tuning]`"
        ) from error


def deciding_metric(suite: Suite) -> Metric:
    """The metric by which trials are judged."""
    return METRICS[task_name(suite.task)][0]


def open_storage(directory: Path) -> JournalStorage:
    """Optuna's storage in a contender's folder, which is made if missing.

    Raises:
        UserError: the journal is damaged.
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    directory.mkdir(parents=True, exist_ok=True)
    journal = directory / JOURNAL
    try:
        return JournalStorage(JournalFileBackend(str(journal)))
    except (ValueError, KeyError) as error:  # not JSON, or not Optuna's
        raise UserError(f"{journal} is damaged ({error}); restore the file") from error


def open_study(directory: Path, metric: Metric, trials: int, seed: int = 0, evaluations: int = 1) -> Study:
    """The study in a contender's folder, made if missing.

    Args:
        directory: the folder of the contender's trials.
        metric: decides the direction.
        trials: planned number of trials; the first half is drawn at random, before the sampler learns.
        seed: the sampler's; a different one per trial, or two that start together would draw the same.
        evaluations: of a trial that is not pruned; only the process of a trial needs the number.

    Raises:
        UserError: the journal is damaged.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        storage=open_storage(directory),
        study_name=directory.name,
        direction="maximize" if metric.higher_is_better else "minimize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=max(1, trials // 2), constant_liar=True
        ),
        # The better half survives after an eighth, a quarter and a half of a trial. No trial is judged by its
        # first steps, where small learning rates look worse than they are.
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=math.ceil(evaluations / 8), reduction_factor=2
        ),
    )


def reopen_trial(study: Study, directory: Path, number: int) -> Trial:
    """A trial that another process began; the values that it drew stay."""
    from optuna.trial import Trial

    storage = open_storage(directory)
    study_id = storage.get_study_id_from_name(study.study_name)
    return Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def suggest(trial: BaseTrial, search: dict[str, Parameter]) -> dict[str, Any]:
    """The trial's values of the section `optimizer`."""
    return {key: _draw(trial, key, parameter) for key, parameter in search.items()}


def tune(
    suite: Suite, folder: SuiteFolder, pool: Pool, epochs: dict[str, int], observer: SuiteObserver
) -> bool:
    """Run the missing trials; once all are finished, write the best values into the plan.

    A contender whose trials all diverged or were pruned is recorded as a failure and left out.

    Args:
        epochs: of a trial on one seed, by contender; the other arguments are as in `run.run_suite`.

    Returns:
        whether tuning is finished; False after Ctrl-C and if trials keep failing.

    Raises:
        UserError: a journal is damaged.
    """
    if folder.tuning is not None:
        return True
    for contender in suite.contenders:  # no process writes them: this one holds the suite's lock
        drop_torn_line(folder.trials(contender) / JOURNAL)
    for _ in range(ATTEMPTS):
        jobs, done = _missing(suite, folder, epochs)
        if not jobs:
            break
        pool.run("trials", jobs, done)
        if pool.interrupted:
            return False
    if _missing(suite, folder, epochs)[0]:
        return False
    for name in folder.failures():  # of trials that succeeded, or were replaced, at the second attempt
        folder.forget_failure(name)
    results = {}
    for contender in suite.contenders:
        result = results[contender.name] = _result(suite, folder, contender)
        if result["best"] is None:
            message = (
                f"none of its {result['trials']} trials finished without diverging; "
                f"search smaller values, in another folder"
            )
            folder.record_failure(f"{contender.slug}-tuning", message, 1)
            observer.message(f"{contender.name}: {message}")
        else:
            best = ", ".join(f"{key} {value}" for key, value in result["best"].items())
            observer.message(f"{contender.name}: best of {result['trials']} trials: {best}")
    tuning = {"trials": suite.tuning.trials, "seeds": list(suite.tuning.seeds), "contenders": results}
    steps = {run.contender: run.steps for run in folder.runs}
    folder.plan(suite, steps, folder.threads, tuning)
    return True


def _missing(suite: Suite, folder: SuiteFolder, epochs: dict[str, int]) -> tuple[list[Job], int]:
    """A job for every trial that was stopped or not begun, and the number of finished trials."""
    jobs, done = [], 0
    for contender in suite.contenders:
        trials = open_study(folder.trials(contender), deciding_metric(suite), suite.tuning.trials).trials
        stopped = [trial.number for trial in trials if trial.state.name == "RUNNING"]
        finished = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials)
        new = range(len(trials), len(trials) + suite.tuning.trials - finished - len(stopped))
        done += finished
        options = {"name": contender.name, "evaluations": epochs[contender.name] * len(suite.tuning.seeds)}
        jobs += enumerate(
            Job(
                f"{contender.slug}-trial-{number}",
                "arsbench.suite.trial",
                options | {"number": number, "resume": number in stopped},
            )
            for number in (*stopped, *new)
        )
    # Every contender's next trial first, then every contender's second next, …
    return [job for _, job in sorted(jobs, key=lambda entry: entry[0])], done


def _result(suite: Suite, folder: SuiteFolder, contender: Contender) -> dict[str, Any]:
    """The plan's entry for a contender's trials."""
    from optuna.trial import FixedTrial

    study = open_study(folder.trials(contender), deciding_metric(suite), suite.tuning.trials)
    finished = [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]
    complete = sum(trial.state.name == "COMPLETE" for trial in finished)
    best = study.best_trial if complete else None
    return {
        "trials": len(finished),
        "pruned": len(finished) - complete,
        "non_finite": sum(NON_FINITE in trial.user_attrs for trial in finished),
        **{name: sum(trial.user_attrs[name] for trial in finished) for name in COSTS},
        "best": best and suggest(FixedTrial(best.params), contender.search),
        "value": best and best.value,
    }


def _draw(trial: BaseTrial, key: str, parameter: Parameter) -> Any:
    if isinstance(parameter, Choices):
        # As JSON, because Optuna takes no lists.
        return json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in parameter.values]))
    draw = trial.suggest_int if parameter.whole else trial.suggest_float
    return draw(key, parameter.low, parameter.high, log=parameter.log)
