"""Whether runs can be compared fairly: differences of their settings, and warnings."""

import json
import math
import shutil
from pathlib import Path

import pytest

from arsbench.analysis import load
from arsbench.analysis.checks import UNKNOWN, configuration_differences, same_task, warnings
from arsbench.analysis.contenders import distinct, suite_baseline, tuning
from arsbench.errors import UserError

SEED_REPORT = Path(__file__).parents[1] / "report" / "seed_report.md"


def the_warning(runs, *words):
    """The only warning with these words in it."""
    (sentence,) = [sentence for sentence in warnings(runs) if all(word in sentence for word in words)]
    return sentence


@pytest.fixture
def suite(record_run, tmp_path):
    """`suite(name, tuning=None, baseline=None)`: the folder of a suite of AdamW and ARS, two seeds each."""

    def make(name, tuning=None, baseline=None):
        runs = []
        for optimizer in ("AdamW", "ARS"):
            for seed in (1, 2):
                folder = f"runs/{optimizer}/seed-{seed}"
                record_run(f"{name}/{folder}", optimizer=optimizer, seed=seed)
                config = {"experiment": {"seed": seed, "tasks": ["wikitext2_line"]}}
                run = {"name": f"{optimizer}-seed-{seed}", "contender": f"my {optimizer}", "folder": folder}
                runs.append(run | {"config": config})
        plan = {"name": name, "task": "wikitext2_line", "suite": {}, "baseline": baseline, "tuning": tuning}
        (tmp_path / name / "plan.json").write_text(json.dumps(plan | {"runs": runs}))
        return tmp_path / name

    return make


def test_runs_that_differ_in_seed_and_optimizer_alone_need_no_warning(record_run):
    sources = [
        record_run(f"{name}-{seed}", optimizer=name, seed=seed)
        for name in ("AdamW", "ARS")
        for seed in (1, 2)
    ]
    runs = load(sources)
    assert warnings(runs) == []
    key, names = configuration_differences(runs)[0]
    assert (key, names) == ("optimizer.name", ["AdamW", "AdamW", "ARS", "ARS"])


def test_a_suites_run_that_has_not_started_has_the_settings_of_the_others(suite):
    path = suite("half")
    whole = load([path])
    shutil.rmtree(path / "runs" / "AdamW" / "seed-2")
    half = load([path])
    assert (half[1].state, half[1].seed) == ("waiting", 2)
    assert half[1].config == whole[1].config
    assert configuration_differences(half) == configuration_differences(whole)


def test_a_suites_run_that_lost_its_status_has_begun(suite):
    path = suite("lost")
    folder = path / "runs" / "AdamW" / "seed-2"
    (folder / "status.json").unlink()
    assert load([path])[1].state == "waiting"  # perhaps a process was killed while it made the folder
    (folder / "checkpoints").mkdir()
    run = load([path])[1]
    assert run.state == "failed"
    assert "has lost its status.json; restore it, or delete the run's folder" in run.message


def test_a_damaged_run_does_not_hide_its_suite(suite):
    path = suite("damaged")
    epochs = path / "runs" / "AdamW" / "seed-2" / "epochs.jsonl"
    epochs.write_text(epochs.read_text()[:-20])
    runs = load([path])
    assert [run.state for run in runs] == ["finished", "failed", "finished", "finished"]
    assert "epochs.jsonl is damaged: it has 1 of the 2 records" in runs[1].message
    assert "restore the file, or delete the run's folder and run the suite again" in runs[1].message
    assert "failed: AdamW-seed-2" in the_warning(runs, "Not every run is finished")


def test_what_a_report_lacks_is_unknown_rather_than_equal(record_run):
    runs = load(
        [SEED_REPORT, record_run("own", seed=42, config={"train": {"epochs": 2}, "data": {"batch_size": 4}})]
    )
    differences = dict(configuration_differences(runs))
    assert differences["train.epochs"] == [5, 2]
    assert "train.precision" not in differences  # one value is known, the other is not
    missing = the_warning(runs, "has no data for")
    assert missing.startswith("The report seed_report")
    assert missing.endswith(
        "machine, version, steps and passes: they may differ from those of the other runs."
    )
    for words in ("precision", "source", "accumulate"):
        assert words in missing
    for words in ("epochs", "log_every", "modulus"):
        assert words not in missing


def test_seconds_with_evaluations_and_without(record_run):
    whole, apart = record_run("whole"), record_run("apart", seed=2)
    epochs = apart / "epochs.jsonl"
    epochs.write_text(
        epochs.read_text().replace('"epoch_seconds"', '"evaluation_seconds": 1, "epoch_seconds"')
    )
    assert warnings(load([whole, whole.with_name("apart")])[:1]) == []
    sentence = the_warning(load([whole, apart]), "Times and memory are not comparable")
    assert "evaluation time (included: whole; excluded: apart)" in sentence


def test_a_key_that_a_report_lacks_is_unknown(record_run):
    sources = [record_run(name, config={"train": {"accumulate": n}}) for name, n in (("a", 2), ("b", 3))]
    runs = load([SEED_REPORT, *sources])
    assert dict(configuration_differences(runs))["train.accumulate"] == [UNKNOWN, 2, 3]


def test_a_third_party_optimizer_lacks_the_keys_of_a_built_in_one(record_run):
    built_in = record_run("a", config={"optimizer": {"k": 7}}), record_run("b")
    sgd = record_run("c", optimizer="torch.optim:SGD", config={"optimizer": {"nesterov": True}})
    differences = dict(configuration_differences(load([*built_in, sgd])))
    assert differences["optimizer.k"] == [7, 5, None]
    assert differences["optimizer.nesterov"] == [None, None, True]


def test_keys_that_only_some_optimizers_have_are_differences(record_run):
    muon = record_run("muon", optimizer="Muon", config={"optimizer": {"adam_lr": 0.005}})
    differences = configuration_differences(load([record_run("adamw", optimizer="AdamW"), muon]))
    keys = [key for key, _ in differences]
    assert keys[0] == "optimizer.name"  # keys with several values come first
    assert {"optimizer.adam_lr", "optimizer.momentum", "optimizer.betas"} < set(keys)
    assert dict(differences)["optimizer.adam_lr"] == [None, 0.005]
    assert dict(differences)["optimizer.betas"] == [[0.9, 0.999], None]
    # AdamW has lr, and Muon without adam_lr uses lr: in neither case is there a value to show.
    plain = record_run("plain", optimizer="Muon", config={"optimizer": {"adam_lr": None}})
    assert "optimizer.adam_lr" not in dict(
        configuration_differences(load([record_run("x", optimizer="AdamW"), plain]))
    )


def test_a_key_that_only_a_report_lacks_is_no_difference(record_run):
    runs = load([SEED_REPORT, record_run("ars", seed=42), record_run("muon", optimizer="Muon")])
    differences = dict(configuration_differences(runs))
    assert differences["optimizer.momentum"] == [UNKNOWN, None, 0.95]
    # Both runs have the same value, and the report has none.
    assert "optimizer.adam_eps" not in differences
    assert differences["optimizer.rho"] == [0.1, 0.1, None]


def test_protocols(record_run):
    runs = load([SEED_REPORT, record_run("own", seed=42)])
    sentence = the_warning(distinct(runs), "protocol")
    assert "seed: ARS (seed_report); seed, strict: ARS (own)" in sentence


def test_labels_and_data(record_run):
    mini = {"experiment": {"tasks": ["wikitext2_line (mini)"]}, "data": {"source": "files", "path": "texts"}}
    runs = load([record_run("a"), record_run("b", optimizer="Muon", config=mini)])
    assert "wikitext2_line (mini): Muon" in the_warning(runs, "label", "must not be compared")
    assert "data.path (none: ARS; texts: Muon)" in the_warning(runs, "data.source (auto: ARS; files: Muon)")


def test_validation_sets_of_other_sizes_are_of_other_data_unless_the_seed_draws_them(record_run):
    def shrink(path):
        records = (path / "epochs.jsonl").read_text().replace('"targets": 1000', '"targets": 999')
        (path / "epochs.jsonl").write_text(records)

    other_seed, same_seed = record_run("b", seed=2), record_run("c", optimizer="Muon")
    first = record_run("a")
    shrink(other_seed)
    assert not [s for s in warnings(load([first, other_seed])) if "targets" in s]
    shrink(same_seed)
    assert "1000: ARS; 999: Muon" in the_warning(load([first, same_seed]), "targets")


@pytest.mark.parametrize(
    ("section", "key", "value", "word"),
    [
        ("train", "epochs", 9, "budgets"),
        ("train", "max_steps", 50, "budgets"),
        ("train", "accumulate", 2, "budgets"),
        ("data", "batch_size", 4, "budgets"),
        ("train", "precision", "bf16", "not comparable"),
        ("model", "sequence_length", 127, "Data settings"),
    ],
)
def test_settings_that_forbid_a_comparison(record_run, section, key, value, word):
    runs = load([record_run("a"), record_run("b", optimizer="Muon", config={section: {key: value}})])
    assert f"{value}: Muon" in the_warning(runs, word, f"{section}.{key}")


@pytest.mark.parametrize(
    ("fact", "value", "word"),
    [
        ("cpu", "M4", "not comparable"),
        ("threads", 8, "not comparable"),
        ("gpu", "H100", "not comparable"),
        ("commit", "beef", "versions"),
        ("arsbench", "2", "versions"),
    ],
)
def test_machines_and_versions(record_run, fact, value, word):
    runs = load([record_run("a"), record_run("b", optimizer="Muon", environment={fact: value})])
    assert f"{value}: Muon" in the_warning(runs, word, fact)


def test_runs_that_did_not_come_to_their_end_are_named(record_run):
    runs = load(
        [
            record_run("a"),
            record_run("b", seed=2, state="non_finite", message="the loss is NaN after step 7"),
            record_run("c", seed=3, losses=(), state="running"),
            record_run("d", seed=4, diverged_at=1012),
            record_run("e", seed=5, state="failed"),
        ]
    )
    assert "diverged: b; unfinished: c; diverged at step 1,012: d; failed: e" in the_warning(
        runs, "Not every run"
    )


def test_seeds(record_run):
    one = [record_run("a"), record_run("b", optimizer="Muon")]
    assert the_warning(load(one), "Only one seed for ARS and Muon", "no verdict is possible")
    assert warnings(load(one[:1])) == []  # one run alone is no comparison
    more = [*one, record_run("c", seed=2), record_run("d", seed=3), record_run("e", optimizer="Muon", seed=3)]
    assert "1, 2, 3: ARS; 1, 3: Muon" in the_warning(load(more), "seeds differ")


def test_tuning_must_be_equal(suite):
    def tuned(**trials):
        return {
            "trials": 8,
            "seeds": [9],
            "contenders": {f"my {n}": {"trials": t, "best": {"lr": 0.1}} for n, t in trials.items()},
        }

    assert warnings(load([suite("equal", tuned(AdamW=8, ARS=8))])) == []
    runs = load([suite("unequal", tuned(AdamW=8, ARS=2))])
    assert "8 trials: my AdamW; 2 trials: my ARS" in the_warning(runs, "tuning budgets differ")
    runs = load([suite("half", tuned(ARS=8))])
    assert "untuned: my AdamW; 8 trials: my ARS" in the_warning(runs, "tuning budgets differ")


def test_different_tasks_are_an_error(record_run):
    runs = load([record_run("a"), record_run("b", config={"experiment": {"tasks": ["mod_addition"]}})])
    with pytest.raises(UserError, match=r"wikitext2_line: a; mod_addition: b.*one task"):
        same_task(runs)
    with pytest.raises(UserError, match="no runs"):
        same_task([])
    assert same_task(runs[:1]) == "wikitext2_line"


def test_seeds_of_one_configuration_are_one_contender(record_run):
    runs = load(
        [
            record_run("a", seed=1),
            record_run("b", seed=2, config={"train": {"log_every": 3, "eval_every_steps": 5}}),
        ]
    )
    assert [run.contender for run in distinct(runs)] == ["ARS", "ARS"]


def test_other_settings_or_the_same_seed_again_are_another_contender(record_run):
    sources = [
        record_run("a"),
        record_run("b", seed=2),
        record_run("slow", seed=3, config={"optimizer": {"lr": 1e-5}}),
    ]
    assert [run.contender for run in distinct(load(sources))] == ["ARS (a)", "ARS (a)", "ARS (slow)"]
    again = record_run("again")
    assert [run.contender for run in distinct(load([sources[0], again]))] == ["ARS (a)", "ARS (again)"]


def test_two_suites_keep_their_contenders_apart(suite):
    tuned = {"contenders": {"my ARS": {"trials": 4, "best": {}}}}
    runs = distinct(load([suite("old", tuned, "my ARS"), suite("new")]))
    assert [run.contender for run in runs][::2] == [
        "my AdamW (old)",
        "my ARS (old)",
        "my AdamW (new)",
        "my ARS (new)",
    ]
    assert suite_baseline(runs) == "my ARS (old)"
    assert tuning(runs) == {"my ARS (old)": {"trials": 4, "best": {}}}


def test_a_suites_run_alone_still_knows_how_it_was_tuned(suite, tmp_path):
    folder = suite("s", {"contenders": {"my ARS": {"trials": 4, "best": {}}}})
    (run,) = load([folder / "runs" / "ARS" / "seed-1"])
    assert tuning([run]) == {"ARS": {"trials": 4, "best": {}}}
    moved = shutil.copytree(folder / "runs" / "ARS" / "seed-1", tmp_path / "elsewhere")
    assert tuning(load([moved])) == {}
    assert suite_baseline(load([moved])) is None


def test_a_nan_is_no_obstacle(record_run):
    runs = load([record_run("a", losses=(4.0, math.nan)), record_run("b", optimizer="Muon", losses=())])
    assert warnings(runs) == []
