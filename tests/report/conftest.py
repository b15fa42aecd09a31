"""A run folder, records like those that a run leaves in it, and runs made by hand."""

import math
from pathlib import Path

import pytest

from arsbench.analysis import Run
from arsbench.runs.folder import RunFolder


def _evaluation(loss, strict=None):
    """Both protocols' figures of one split."""
    return {
        "seed": {"loss": loss, "perplexity": None if loss is None else math.exp(loss)},
        "strict": strict,
    }


def _seed_record(**changes):
    """The first report's first row, in more digits than it shows."""
    record = {
        "epoch": 1,
        "task": "wikitext2_line",
        "step": 1234,
        "train_loss": 5.54684,
        "lr": 1e-4,
        "pi": 0.44512,
        "effective_gamma": None,
        "entropy": 0.00012,
        "entropy_nats": 5.1234567,
        "grad_norm": 0.80979,
        "epoch_seconds": 551.2301,
        "evaluation_seconds": 21.3456,
        "peak_gpu_mib": 3108.8123,
        "peak_rss_mib": 2100.04,
        "tokens_per_second": 12345.6,
        "forward_backward_passes": 1481,
        # In the order in which a run meets them.
        "diagnostics": {
            "cos_pos_2": 0.093,
            "cos_pos_2_pre": -0.0065,
            "cos_pos_3": 0.0632,
            "cos_pos_3_pre": 0.02,
            "cos_pos_4": 0.0404,
            "cos_pos_4_pre": 0.03,
            "cos_pos_0": 0.033,
            "cos_pos_0_pre": 0.04,
        },
        "evaluation": {
            "validation": {"seed": {"loss": 5.0639, "perplexity": 158.2052}},
        },
    }
    return record | changes


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(
        tmp_path / "run",
        config={"train": {"epochs": 5}, "experiment": {"tasks": ["wikitext2_line"]}},
        effective={"train": {"epochs": 5, "grad_clip": None}},
        environment={"python": "3.11.7", "gpu": None, "backends": {"newton_schulz": "CPU kernel"}},
        groups=[
            {
                "name": "matrix",
                "tensors": 28,
                "parameters": 18874368,
                "hyperparameters": {"lr": 1e-4, "betas": (0.9, 0.999), "note": "a|b"},
            }
        ],
    )


@pytest.fixture
def evaluation():
    """`evaluation(loss, strict=None)`: one split's figures."""
    return _evaluation


@pytest.fixture
def seed_record():
    """`seed_record(**changes)`: an epoch's record."""
    return _seed_record


def _made_run(
    contender="ARS", seed=1, *, epochs=3, passes=10, loss=4.0, task="wikitext2_line (made)", **changes
):
    """A run of ten steps and two seconds an epoch, whose losses fall to `loss` and seed / 100."""
    records = [
        _made_epoch(epoch, task, passes, loss + (epochs - epoch) / epochs + seed / 100)
        for epoch in range(1, epochs + 1)
    ]
    facts = {
        "name": f"{contender}-{seed}",
        "source": Path(f"/made/{contender}/{seed}"),
        "contender": contender,
        "seed": seed,
        "task": task,
        "state": "finished",
        "message": "",
        "config": {"experiment": {"seed": seed}, "optimizer": {"name": contender, "k": 5, "lr": 0.001}},
        "environment": {"python": "3.11.7", "backends": {"newton_schulz": "CPU kernel"}},
        "epochs": records,
        "steps": [],
    }
    return Run(**(facts | changes))


def _made_epoch(epoch, task, passes, loss):
    of_accuracy = task.startswith("mod_addition")
    return {
        "epoch": epoch,
        "task": task,
        "step": 10 * epoch,
        "train_loss": loss + 0.25,
        "lr": 0.001,
        "pi": 0.5,
        "effective_gamma": None,
        "entropy": 0.001,
        "entropy_nats": 3.5,
        "grad_norm": 0.75,
        "forward_backward_passes": passes,
        "epoch_seconds": 2.0,
        "tokens_per_second": 1000.0,
        "peak_rss_mib": 900.0,
        "peak_gpu_mib": None,
        "diagnostics": {},
        "evaluation": {
            "validation": {"all": {"loss": loss, "accuracy": 1 / loss, "targets": 100}}
            if of_accuracy
            else {
                "seed": {"loss": loss - 0.5, "perplexity": math.exp(loss - 0.5)},
                "strict": {"loss": loss, "bits_per_byte": loss / 2, "targets": 100},
            }
        },
    }


@pytest.fixture(scope="session")
def made_run():
    """`made_run(contender="ARS", seed=1, epochs=3, passes=10, loss=4.0, task=…, **changes)`: a `Run`."""
    return _made_run
