"""Equal tuning: every contender gets the same number of trials over its own search space.

A trial is a process of its own that trains on the tuning seeds (arsbench/suite/trial.py). One study a
contender keeps them, in Optuna's journal file, which all processes share. A trial whose process was stopped
or killed stays in the study as running; whoever holds the suite's lock knows that nobody runs it, and
continues it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arsbench.errors import UserError
from arsbench.metrics import METRICS, Metric, task_name
from arsbench.suite.definition import Contender, Suite
from arsbench.suite.folder import SuiteFolder
from arsbench.suite.pool import Pool
from arsbench.suite.progress import Job, SuiteObserver
from arsbench.suite.search import Choices, Parameter

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

# A trial that fails is tried once more before the suite gives up for today.
ATTEMPTS = 2

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
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directory.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(directory / "journal.log"))
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=directory.name,
        direction="maximize" if metric.higher_is_better else "minimize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=max(1, trials // 2), constant_liar=True
        ),
        # The better half goes on after an eighth of a trial, a quarter and a half: none is judged by its very
        # beginning, where small rates look worse than they are.
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(1, evaluations // 8), reduction_factor=2
        ),
    )


def suggest(trial: Trial, search: dict[str, Parameter]) -> dict[str, Any]:
    """The trial's values of the section `optimizer`."""
    return {key: _decoded(parameter, _draw(trial, key, parameter)) for key, parameter in search.items()}


def tune(suite: Suite, folder: SuiteFolder, pool: Pool, observer: SuiteObserver) -> bool:
    """Run the trials that are missing; once all are there, write the best into the plan.

    Returns:
        whether tuning is over: False after Ctrl-C and where trials keep failing.

    Raises:
        UserError: no trial of a contender came to its end with finite figures.
    """
    if folder.tuning is not None:
        return True
    for _ in range(ATTEMPTS):
        jobs, done = _missing(suite, folder)
        if not jobs:
            break
        pool.run("trials", jobs, done)
        if pool.interrupted:
            return False
    if _missing(suite, folder)[0]:
        return False
    for name in folder.failures():  # of trials that went well, or were replaced, at the second attempt
        folder.forget_failure(name)
    found = {contender.name: _summary(suite, folder, contender) for contender in suite.contenders}
    for name, figures in found.items():
        best = ", ".join(f"{key} {value}" for key, value in figures["best"].items())
        observer.message(f"{name}: best of {figures['trials']} trials: {best}")
    tuning = {"trials": suite.tuning.trials, "seeds": list(suite.tuning.seeds), "contenders": found}
    steps = {run.contender: run.steps for run in folder.runs}
    folder.plan(suite, steps, tuning)
    return True


def _missing(suite: Suite, folder: SuiteFolder) -> tuple[list[Job], int]:
    """A job for every trial that was stopped or never begun, and how many are over."""
    jobs, done = [], 0
    for contender in suite.contenders:
        trials = open_study(folder.trials(contender), deciding_metric(suite), suite.tuning.trials).trials
        over = sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in trials)
        stopped = [trial.number for trial in trials if trial.state.name == "RUNNING"]
        new = range(len(trials), len(trials) + suite.tuning.trials - over - len(stopped))
        done += over
        own = [_job(contender, number, "--continue") for number in stopped]
        own += [_job(contender, number) for number in new]
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
    if not complete:
        raise UserError(
            f"no trial of contender {contender.name!r} came to its end with finite figures; give its search "
            f"smaller values and choose another folder with --out"
        )
    best = study.best_trial
    return {
        "trials": len(over),
        "pruned": len(over) - len(complete),
        "non_finite": sum(NON_FINITE in trial.user_attrs for trial in over),
        "steps": _total(over, STEPS),
        "passes": _total(over, PASSES),
        "seconds": _total(over, SECONDS),
        "best": {key: _decoded(parameter, best.params[key]) for key, parameter in contender.search.items()},
        "value": best.value,
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
