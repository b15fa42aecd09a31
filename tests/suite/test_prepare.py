"""What is known of a suite's runs before the first begins."""

import pytest

from arsbench.errors import UserError
from arsbench.suite.prepare import prepare


@pytest.mark.parametrize(("most", "steps", "epochs"), [(None, 24, 4), (7, 7, 2), (6, 6, 1), (100, 24, 4)])
def test_how_long_runs_and_trials_are(modular, most, steps, epochs):
    """By max_steps, too: successive halving must know how many evaluations a trial really has."""
    trial = modular | {"train": {"epochs": 4, "max_steps": most}}  # of six steps each
    found = prepare({"runs": {"A": modular}, "trials": {"A": trial}})
    assert found == {
        "device": "cpu",
        "runs": {"A": {"steps": 24, "epochs": 4}},
        "trials": {"A": {"steps": steps, "epochs": epochs}},
    }


def test_an_optimizer_that_cannot_be_made_is_named(modular):
    modular["optimizer"] = {"name": "torch.optim:Adagradd"}
    with pytest.raises(UserError, match=r"contender 'A': optimizer\.name 'torch\.optim:Adagradd'"):
        prepare({"runs": {"A": modular}})
