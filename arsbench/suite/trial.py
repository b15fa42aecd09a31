"""One trial of a contender's tuning, in a process of its own.

It trains on one tuning seed after the other. After every evaluation it reports the mean of
the finished seeds' values and the current value; successive halving may then prune the trial.
"""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

from optuna.trial import Trial, TrialState

from arsbench.config import config_from_dict
from arsbench.errors import INTERRUPTED
from arsbench.metrics import Metric
from arsbench.runs.folder import RunFolder
from arsbench.suite import tuning
from arsbench.suite.folder import SuiteFolder, divergence
from arsbench.suite.worker import LogObserver, held_run, run_job
from arsbench.training import StopTraining


class Pruned(StopTraining):
    """The trial ends early: successive halving, or a run that diverged."""


class TrialObserver(LogObserver):
    """Reports evaluations to a trial.

    Args:
        trial: the trial.
        metric: the metric by which it is judged.
        before: values of the finished seeds.
        evaluations: number of evaluations on the finished seeds.
        last: whether this is the last seed.
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
        # A continued trial repeats what came after its last checkpoint.
        if position not in self._reported:
            self._trial.report(_mean([*self._before, self._metric.value(record)]), position)
        finished = self._last and record["step"] == self._total_steps
        if not finished and self._trial.should_prune():
            raise Pruned


def _work(folder: SuiteFolder, job: str, name: str, number: int, evaluations: int, resume: bool) -> int:
    """Run a trial of the contender `name`, or resume one; the number of a new one only seeds the sampler.

    `evaluations` is their number in a trial that is not pruned.
    """
    suite = folder.suite
    contender = next(c for c in suite.contenders if c.name == name)
    metric, directory = tuning.deciding_metric(suite), folder.trials(contender)
    study = tuning.open_study(directory, metric, suite.tuning.trials, number, evaluations)
    trial = tuning.reopen_trial(study, directory, number) if resume else study.ask()
    paths = [directory / f"trial-{trial.number}" / f"seed-{seed}" for seed in suite.tuning.seeds]
    state, values = None, []
    try:
        optimizer = tuning.suggest(trial, contender.search)
        print(f"trial {trial.number}: {optimizer}", flush=True)
        for seed, path in zip(suite.tuning.seeds, paths, strict=True):
            sections = contender.config(seed, optimizer, suite.tuning.changes).given
            config = config_from_dict(folder.as_begun(sections))
            before = sum(len(RunFolder(done).epochs()) for done in paths[: len(values)])
            observer = TrialObserver(trial, metric, values, before, last=path == paths[-1])
            with held_run(path, config, observer) as (run, trainer):
                ended = trainer.run(run)
            if ended == "interrupted":
                return INTERRUPTED
            if divergence(RunFolder(path).status):
                raise Pruned
            values.append(metric.value(RunFolder.open(path).epochs()[-1]))
    except Pruned:
        state = TrialState.PRUNED
        if any(divergence(RunFolder(path).status) for path in paths if path.exists()):
            trial.set_user_attr(tuning.NON_FINITE, True)
    for name, value in _cost(paths).items():
        trial.set_user_attr(name, value)
    study.tell(trial, None if state else _mean(values), state=state)
    for path in paths:
        shutil.rmtree(path / "checkpoints", ignore_errors=True)
    return 0


def _cost(paths: list[Path]) -> dict[str, float]:
    """Steps, forward-backward passes and seconds of a trial's runs."""
    costs = [_cost_of(RunFolder(path)) for path in paths if path.exists()]
    return {name: sum(cost[name] for cost in costs) for name in tuning.COSTS}


def _cost_of(run: RunFolder) -> dict[str, float]:
    """The cost of a run; of an epoch that divergence cut short, estimated from its logged steps."""
    epochs = run.epochs()
    counted = epochs[-1]["step"] if epochs else 0
    rest = max(0, run.status["step"] - counted)
    logged = [record for record in run.steps() if record["step"] > counted]

    def estimate(key: str, default: float) -> float:
        return rest * (statistics.fmean(record[key] for record in logged) if logged else default)

    return {
        "steps": counted + rest,
        "passes": sum(e["forward_backward_passes"] for e in epochs) + estimate("forward_backward_passes", 1),
        "seconds": sum(e["epoch_seconds"] for e in epochs) + estimate("seconds", 0.0),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    run_job(_work)
