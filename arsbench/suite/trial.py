"""One trial of a contender's tuning, in a process of its own.

    python -m arsbench.suite.trial DIR JOB --threads N --contender NAME --number N [--continue]

It trains on one tuning seed after the other and reports, after every evaluation, the mean of the finished
seeds' values and the current one's; successive halving may end it there.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

from optuna import Study
from optuna.trial import Trial, TrialState

from arsbench.config import config_from_dict
from arsbench.metrics import Metric
from arsbench.runs.folder import RunFolder
from arsbench.suite.folder import SuiteFolder
from arsbench.suite.pool import INTERRUPTED
from arsbench.suite.tuning import (
    NON_FINITE,
    PASSES,
    SECONDS,
    STEPS,
    deciding_metric,
    open_study,
    suggest,
)
from arsbench.suite.worker import LogObserver, held_run, run_job
from arsbench.training import StopTraining


class Pruned(StopTraining):
    """Successive halving ends the trial."""


class TrialObserver(LogObserver):
    """Reports evaluations to a trial.

    Args:
        trial: it.
        metric: what it is judged by.
        before: the finished seeds' values.
        evaluations: of the finished seeds.
        last: whether no other seed follows.
    """

    def __init__(
        self, trial: Trial, metric: Metric, before: list[float], evaluations: int, last: bool
    ) -> None:
        self._trial, self._metric = trial, metric
        self._before, self._evaluations, self._last = before, evaluations, last
        self._reported = trial.study.trials[trial.number].intermediate_values

    def start(self, task: str, step: int, total_steps: int) -> None:
        super().start(task, step, total_steps)
        self._total_steps = total_steps

    def epoch(self, record: dict[str, Any]) -> None:
        super().epoch(record)
        position = self._evaluations + record["epoch"]
        # One that goes on computes again what came after its last checkpoint.
        if position not in self._reported:
            self._trial.report(_mean([*self._before, self._metric.value(record)]), position)
        over = self._last and record["step"] == self._total_steps
        if not over and self._trial.should_prune():
            raise Pruned


def _work(folder: SuiteFolder, arguments: argparse.Namespace) -> int:
    suite = folder.suite
    contender = next(one for one in suite.contenders if one.name == arguments.contender)
    metric = deciding_metric(suite)
    study = open_study(
        folder.trials(contender),
        metric,
        suite.tuning.trials,
        seed=arguments.number,
        evaluations=arguments.evaluations,
    )
    trial = _reopened(study, arguments.number) if arguments.resume else study.ask()
    directory = folder.trials(contender) / f"trial-{trial.number}"
    paths = [directory / f"seed-{seed}" for seed in suite.tuning.seeds]
    state, values = None, []
    try:
        optimizer = suggest(trial, contender.search)
        print(f"trial {trial.number}: {optimizer}", flush=True)
        for seed, path in zip(suite.tuning.seeds, paths, strict=True):
            given = contender.config(seed, optimizer, suite.tuning.changes).given
            config = config_from_dict(folder.as_begun(given))
            evaluations = sum(len(RunFolder(done).epochs()) for done in paths[: len(values)])
            observer = TrialObserver(trial, metric, values, evaluations, last=path == paths[-1])
            with held_run(path, config, observer) as (run, trainer):
                ended = trainer.run(run)
            if ended == "interrupted":
                return INTERRUPTED
            if _diverged(path):
                raise Pruned
            values.append(metric.value(RunFolder.open(path).epochs()[-1]))
    except Pruned:
        state = TrialState.PRUNED
        if any(_diverged(path) for path in paths if path.exists()):
            trial.set_user_attr(NON_FINITE, True)
    for name, value in _spent(paths).items():
        trial.set_user_attr(name, value)
    study.tell(trial, None if state else _mean(values), state=state)
    for path in paths:
        shutil.rmtree(path / "checkpoints", ignore_errors=True)
    return 0


def _reopened(study: Study, number: int) -> Trial:
    """A trial that another process began; what it drew stays drawn."""
    return Trial(study, study.trials[number]._trial_id)


def _diverged(path: Path) -> bool:
    """Whether a trial's run stopped at a number that is not finite, or diverged with finite ones."""
    status = RunFolder(path).status
    return status["state"] == "non_finite" or "diverged_at" in status


def _spent(paths: list[Path]) -> dict[str, float]:
    """Steps, passes and seconds of a trial's runs, wherever they ended."""
    runs = [_spent_of(RunFolder(path)) for path in paths if path.exists()]
    return {name: sum(run[name] for run in runs) for name in (STEPS, PASSES, SECONDS)}


def _spent_of(run: RunFolder) -> dict[str, float]:
    """Of a run that diverged, what its last epoch took is estimated from the steps that were logged in it."""
    epochs = run.epochs()
    counted = epochs[-1]["step"] if epochs else 0
    rest = max(0, run.status["step"] - counted)
    logged = [record for record in run.steps() if record["step"] > counted]

    def estimate(key: str, least: float) -> float:
        return rest * (statistics.fmean(record[key] for record in logged) if logged else least)

    return {
        STEPS: counted + rest,
        PASSES: sum(e["forward_backward_passes"] for e in epochs) + estimate("forward_backward_passes", 1),
        SECONDS: sum(e["epoch_seconds"] for e in epochs) + estimate("seconds", 0.0),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contender", required=True)
    parser.add_argument("--number", type=int, required=True, help="of the trial; of a new one, a guess")
    parser.add_argument("--evaluations", type=int, required=True, help="of a whole trial")
    parser.add_argument("--continue", dest="resume", action="store_true", help="a trial that was stopped")


if __name__ == "__main__":
    run_job(_work, _configure)
