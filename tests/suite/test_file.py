"""The suite file: what it means, and what is wrong with a wrong one."""

import os

import pytest

from arsbench.config import config_from_dict
from arsbench.errors import UserError
from arsbench.suite import check_suite, read_suite, suite_names
from arsbench.suite.contender import Contender
from arsbench.suite.file import suite_from_dict
from arsbench.suite.search import Choices, Range

HEAD = 'name = "s"\nconfig = "demo"\nseeds = [1, 2]\n'
ADAMW = '[contenders.AdamW]\nname = "AdamW"\nlr = 1e-3\n'
TUNED = "search.lr = { low = 1e-4, high = 1e-2, log = true }\n"
TUNING = "[tuning]\ntrials = 3\nseeds = [101]\n"


def load_suite(source):
    suite = read_suite(source)
    check_suite(suite)
    return suite


def contender(parse, text, label="A"):
    return next(one for one in parse(text).contenders if one.name == label)


def test_a_contender_is_the_configuration_with_its_own_keys(parse, tiny):
    text = HEAD + "[set]\ntrain.epochs = 9\n[contenders.A]\nk = 4\nset.scheduler.name = 'cosine'\n"
    config = contender(parse, text).config(5)
    assert (config.experiment.seed, config.train.epochs, config.scheduler.name) == (5, 9, "cosine")
    assert (config.optimizer.k, config.optimizer.lr) == (4, tiny["optimizer"]["lr"])
    assert config.train.log_every == tiny["train"]["log_every"]


def test_a_setting_for_all_may_be_quoted(parse):
    assert contender(parse, HEAD + '[set]\n"train.epochs" = 9\n[contenders.A]\n').config(1).train.epochs == 9


def test_a_grid_is_a_contender_for_each_point(parse):
    suite = parse(HEAD + '[contenders."ARS lazy".grid]\nrho = [0.05, 0.1]\nk = [2, 5]\n')
    assert [one.name for one in suite.contenders] == [
        "ARS lazy, rho 0.05, k 2",
        "ARS lazy, rho 0.05, k 5",
        "ARS lazy, rho 0.1, k 2",
        "ARS lazy, rho 0.1, k 5",
    ]
    assert suite.contenders[1].slug == "ars-lazy-rho-0-05-k-5"
    optimizer = suite.contenders[1].config(1).optimizer
    assert (optimizer.rho, optimizer.k) == (0.05, 5)


def test_another_packages_optimizer_starts_without_the_files_keys(parse):
    text = HEAD + '[contenders.A]\nname = "torch.optim:SGD"\nlr = 0.1\nmomentum = 0.9\n'
    assert contender(parse, text).sections["optimizer"] == {
        "name": "torch.optim:SGD",
        "lr": 0.1,
        "momentum": 0.9,
    }


def test_another_packages_optimizer_in_a_grid(parse):
    suite = parse(HEAD + '[contenders.A]\nlr = 0.1\ngrid.name = ["AdamW", "torch.optim:SGD"]\n')
    assert "k" in suite.contenders[0].sections["optimizer"]
    assert suite.contenders[1].sections["optimizer"] == {"name": "torch.optim:SGD", "lr": 0.1}


def test_searched_values_are_checked_together(parse):
    text = HEAD + "[contenders.A]\nadaptive_sync = true\n" + TUNED + TUNING
    assert parse(text.replace("search", "search.k = { low = 2, high = 9 }\nsearch", 1)).tuning
    with pytest.raises(UserError, match="it must be ≥ 2 with adaptive_sync"):
        parse(text.replace("search", "search.k = { low = 1, high = 9 }\nsearch", 1))
    text = text.replace("adaptive_sync = true", "search.adaptive_sync = [false, true]")
    for periods in ("[1, 9]", "[9, 1]"):
        with pytest.raises(UserError, match="it must be ≥ 2 with adaptive_sync"):
            parse(text.replace("search", f"search.k = {periods}\nsearch", 1))


def test_tuning_and_its_budget(parse):
    text = HEAD + "[contenders.A]\n" + TUNED + "search.k = [2, 5]\n" + TUNING + "set.train.max_steps = 7\n"
    suite = parse(text)
    assert (suite.tuning.trials, suite.tuning.seeds) == (3, (101,))
    (one,) = suite.contenders
    assert one.search == {"lr": Range(1e-4, 1e-2, True), "k": Choices((2, 5))}
    config = one.config(101, {"lr": 0.005, "k": 2}, suite.tuning.changes)
    assert (config.optimizer.lr, config.optimizer.k, config.train.max_steps) == (0.005, 2, 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD.replace('name = "s"\n', "") + ADAMW, "name is None; it must be a string"),
        (HEAD.replace('"s"', '"!"') + ADAMW, "name is '!'; it names a folder"),
        (HEAD.replace("[1, 2]", "[]") + ADAMW, "seeds is []; it must be a list of whole numbers"),
        (HEAD.replace("[1, 2]", "3") + ADAMW, "seeds is 3; it must be a list"),
        (HEAD.replace("[1, 2]", "[1, 1]") + ADAMW, "seeds has 1 twice"),
        (HEAD.replace("[1, 2]", '[1, "2"]') + ADAMW, "seeds is [1, '2']; it must be a list of whole numbers"),
        (
            HEAD.replace("[1, 2]", "[1, -2]") + ADAMW,
            "seeds is [1, -2]; it must be a list of whole numbers, each ≥ 0",
        ),
        (HEAD, "contenders is missing"),
        (HEAD + "contenders = 3\n", "contenders is 3; it must be a table"),
        (HEAD + "contenders.A = 3\n", "contenders.A is 3; it must be a table"),
        (HEAD + 'baseline = "AdamV"\n' + ADAMW, "baseline 'AdamV' is no contender; did you mean 'AdamW'?"),
        (
            HEAD + ADAMW + "wieght_decay = 1\n",
            "contender 'AdamW': unknown key optimizer.wieght_decay; did you",
        ),
        (HEAD + ADAMW.replace("1e-3", '"big"'), "contender 'AdamW': optimizer.lr is 'big'; it must be a"),
        (HEAD + ADAMW + "when = 2026-01-01\n", "the suite holds a date or time"),
        (HEAD + ADAMW + "[contenders.adamw]\n", "contenders 'AdamW' and 'adamw' have the same folder"),
        (HEAD + '[contenders."?"]\n', "contender '?' is also a folder's name"),
        (HEAD + ADAMW + "grid.k = 3\n", "contenders.AdamW.grid.k is 3; it must be a list"),
        (HEAD + ADAMW + "grid.lr = [1, 2]\n", "contenders.AdamW sets lr twice"),
        (HEAD + "[set]\nepochs = 3\n" + ADAMW, "set has the unknown section 'epochs'"),
        (HEAD + "[set]\ntrain = 3\n" + ADAMW, "set.train is 3; name a key, such as train.epochs"),
        (HEAD + "[set]\ntrain.epochs = 0\n" + ADAMW, "train.epochs is 0; it must be ≥ 1"),
        (
            HEAD + "[set]\nexperiment.seed = 3\n" + ADAMW,
            "set sets experiment.seed, which is the same for all contenders; set it in seeds",
        ),
        (HEAD + ADAMW + 'set.experiment.tasks = ["x"]\n', "set it in the suite's config or set"),
        (HEAD + ADAMW + "set.optimizer.lr = 1\n", "write the contender's optimizer keys in its table"),
        (HEAD + ADAMW.replace("lr = 1e-3\n", TUNED), "has a search but the suite has no [tuning]"),
        (HEAD + ADAMW + TUNING, "contender 'AdamW' has no search.lr"),
        (HEAD + ADAMW + TUNED + TUNING, "contenders.AdamW sets lr twice"),
        (HEAD + "[contenders.A]\n" + TUNED + TUNING.replace("101", "2"), "tuning.seeds and seeds share 2"),
        (HEAD + "[contenders.A]\n" + TUNED + TUNING.replace("3", "0"), "tuning.trials is 0"),
        (HEAD + "[contenders.A]\n" + TUNED + TUNING.replace("[101]", "[]"), "tuning.seeds is []"),
        (HEAD + "[contenders.A]\n" + TUNED + TUNING + "trails = 3\n", "did you mean 'trials'"),
        (HEAD + "[contenders.A]\n" + TUNED.replace("1e-4", "1e-1") + TUNING, "low must be < high"),
        (
            HEAD + "[contenders.A]\n" + TUNED.replace("1e-4", "0") + TUNING,
            "it must be > 0 in a logarithmic range",
        ),
        (HEAD + "[contenders.A]\n" + TUNED.replace("1e-4", "'a'") + TUNING, "it must be a number"),
        (
            HEAD + "[contenders.A]\n" + TUNED.replace("1e-2", "1" + "0" * 400) + TUNING,
            "search.lr.high is 1" + "0" * 119 + " ...; it must be finite",
        ),
        (HEAD + "[contenders.A]\n" + TUNED.replace("true", "1") + TUNING, "must be true or false"),
        (HEAD + "[contenders.A]\nsearch.lr = 0.1\n" + TUNING, "it must be a range such as"),
        (HEAD + "[contenders.A]\nsearch.lr = [0.1]\n" + TUNING, "list at least two values"),
        (HEAD + "[contenders.A]\n" + TUNED + "search.k = [1, -1]\n" + TUNING, "optimizer.k is -1"),
        (HEAD + "[contenders.A]\n" + TUNED + "search.kk = [1, 2]\n" + TUNING, "unknown key optimizer.kk"),
        (
            HEAD + ADAMW + "k = 3\n",
            "contender 'AdamW': AdamW has no optimizer.k; its keys are lr, betas, eps",
        ),
        (
            HEAD + "[contenders.A]\ngrid.momentum = [0.8, 0.9]\n",
            "contender 'A, momentum 0.8': ARS has no optimizer.momentum; its keys are lr",
        ),
        (
            HEAD + '[contenders.A]\nlr = 1\ngrid.name = ["Muon", "AdamW"]\ngrid.momentum = [0.8]\n',
            "contender 'A, name AdamW, momentum 0.8': AdamW has no optimizer.momentum",
        ),
        (
            HEAD + "[contenders.A]\n" + TUNED + "search.momentum = [0.8, 0.9]\n" + TUNING,
            "ARS has no optimizer.mom",
        ),
        (
            HEAD
            + "[contenders.A]\n"
            + TUNED
            + 'search.name = ["ARS", "AdamW"]\nsearch.k = [1, 2]\n'
            + TUNING,
            "contender 'A': AdamW has no optimizer.k",
        ),
        (
            HEAD + "[set]\noptimizer.momentum = 0.5\n[contenders.A]\n" + ADAMW,
            "no optimizer of the suite (ARS, AdamW) has the key set.optimizer.momentum; remove it",
        ),
        (
            HEAD.replace('"s"', r'"s\nt"') + ADAMW,
            r"name is 's\nt'; it must be one line of ordinary characters",
        ),
        (HEAD + r'[contenders."a\nb"]' + "\n", "a contender's name is 'a\\nb'; it must be one line"),
        (HEAD + '[contenders.A]\ngrid.name = ["AdamW", "x\\u0007y"]\n', "must be one line of ordinary"),
        (
            HEAD
            + "[contenders.A.grid]\n"
            + "".join(f"{k} = {list(range(59))}\n" for k in ("k", "lr", "rho", "eps")),
            "the suite has 12,117,361 contenders, grids included; it must have at most 1,000",
        ),
        (
            HEAD.replace("[1, 2]", str(list(range(1001)))) + ADAMW,
            "seeds lists 1,001 seeds; list at most 1,000",
        ),
        (
            HEAD.replace("[1, 2]", str(list(range(1000))))
            + f"[contenders.A]\ngrid.lr = {list(range(1, 12))}\n",
            "the suite has 11,000 runs (11 contenders, 1,000 seeds each); it may have at most 10,000",
        ),
        (
            HEAD + "[contenders.A]\n" + TUNED + TUNING.replace("3", "10001"),
            "tuning.trials is 10001; it must be a whole number from 1 to 10,000",
        ),
        (
            HEAD + "[contenders.A]\n" + TUNED + f"search.k = {list(range(101))}\n" + TUNING,
            "contenders.A.search.k lists 101 choices; list at most 100",
        ),
    ],
)
def test_a_mistake_is_one_sentence(parse, text, words):
    with pytest.raises(UserError) as error:
        parse(text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_key_for_some_of_the_contenders_may_be_set_for_all(parse):
    text = HEAD + "[set]\noptimizer.momentum = 0.5\n[contenders.Muon]\nname = 'Muon'\n" + ADAMW
    assert contender(parse, text, "Muon").config(1).optimizer.momentum == 0.5
    text = HEAD + "[set]\noptimizer.nesterov = true\n[contenders.A]\nname = 'torch.optim:SGD'\n"
    assert contender(parse, text).sections["optimizer"] == {"nesterov": True, "name": "torch.optim:SGD"}


def test_inherited_keys_of_another_optimizer_are_none_that_the_contender_names(parse, tiny):
    tiny["optimizer"] |= {"momentum": 0.5}
    inherited = contender(parse, HEAD + ADAMW, "AdamW").sections["optimizer"]
    assert inherited == {"name": "AdamW", "lr": 1e-3, "k": 3, "rho": 0.05, "momentum": 0.5}


TWELVE = ("eps", "weight_decay", "rho", "alpha", "adaptive_beta", "adaptive_lambda", "adaptive_gamma")
TWELVE += ("adam_lr", "adam_eps", "adam_weight_decay", "k", "lr")


def test_a_large_search_space_is_checked_at_its_corners_alone(parse, monkeypatch):
    checked = []
    config = Contender.config
    monkeypatch.setattr(
        Contender, "config", lambda self, *given: checked.append(given) or config(self, *given)
    )
    search = "".join(f"search.{key} = {{ low = 1, high = 2 }}\n" for key in TWELVE)
    search = search.replace("beta = { low = 1, high = 2 }", "beta = { low = 0.1, high = 0.2 }")
    text = HEAD + "[contenders.A]\nsearch.adaptive_sync = [false, true]\n" + search + TUNING
    with pytest.raises(UserError, match="it must be ≥ 2 with adaptive_sync"):
        parse(text)
    parse(
        text.replace("search.k = { low = 1", "search.k = { low = 0").replace(
            "[false, true]", "[false, false]"
        )
    )
    assert len(checked) < 200


@pytest.mark.parametrize("value", ["-1", "'x'"])
def test_every_bound_of_every_searched_key_is_checked(parse, value):
    for key in TWELVE[:-1]:
        choices = ("0.5", "1") if key != "k" else ("5", "1")
        text = (
            HEAD + "[contenders.A]\n" + TUNED + f"search.{key} = [{', '.join(choices)}, {value}]\n" + TUNING
        )
        with pytest.raises(
            UserError, match=rf"optimizer\.{key} is {value}" if key != "adaptive_beta" else "beta is"
        ):
            parse(text)


def test_a_plan_is_read_without_checking_every_configuration_again(parse, tiny, monkeypatch):
    text = HEAD + "[contenders.A]\n" + TUNED + TUNING
    suite = parse(text)
    monkeypatch.setattr(Contender, "config", None)
    assert suite_from_dict(suite.content, suite.base) == suite


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = " + b"[" * 50_000 + b"]" * 50_000, "is refused: it is nested more than 100 levels deep"),
        (b"\xff", "cannot read the suite .*: it is not UTF-8 text"),
        (b" " * (2**20 + 1), "it is larger than 1 MiB; give a TOML text file"),
        (b"seeds = [0x" + b"F" * 50_000 + b"]", "a whole number has more than 8192 bits"),
        (None, "it is a named pipe, not a regular file; give a TOML text file"),
    ],
)
def test_a_file_that_is_no_suite(tmp_path, content, words):
    path = tmp_path / "suite.toml"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        load_suite(str(path))


def test_files_and_presets(tmp_path, write_suite):
    assert [one.name for one in load_suite(write_suite()).contenders] == ["AdamW", "ARS"]
    with pytest.raises(UserError, match="did you mean 'demo-optimizers'"):
        load_suite("demo-optimizer")
    (tmp_path / "broken.toml").write_text("name = \n")
    with pytest.raises(UserError, match=r"broken\.toml is not valid TOML"):
        load_suite(str(tmp_path / "broken.toml"))
    (tmp_path / "typo.toml").write_text(HEAD.replace("config", "confg") + ADAMW)
    with pytest.raises(UserError, match="unknown key 'confg' in the suite; did you mean 'config'"):
        load_suite(str(tmp_path / "typo.toml"))
    (tmp_path / "lost.toml").write_text('name = "lost"\nconfig = "nowhere.json"\nseeds = [1]\n')
    with pytest.raises(UserError, match=r"there is no configuration file or preset '.*nowhere\.json'"):
        load_suite(str(tmp_path / "lost.toml"))


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites(name):
    suite = load_suite(name)
    assert suite.name == name
    assert suite.baseline == "AdamW"
    assert len(suite.seeds) >= 3
    for contender in suite.contenders:
        assert config_from_dict(contender.config(1).given).experiment.seed == 1


@pytest.mark.parametrize("name", ["demo-optimizers", "seed-optimizers"])
def test_the_eight_optimizers(name):
    assert [one.name for one in load_suite(name).contenders] == [
        "AdamW",
        "Muon",
        "AdaMuon",
        "RMSuon",
        "AdaRMSuon",
        "ARS lazy",
        "ARS sync",
        "A-GSAM",
    ]


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ("", "wikitext2_line (tiny)"),
        ("train.epochs = 1", "wikitext2_line (tiny)"),
        ('data.path = "my/books"', "wikitext2_line (files: books)"),
        ('data.source = "pydocs"', "wikitext2_line (pydocs)"),
        ('data.path = "books"\nexperiment.tasks = ["wikitext2_line (mine)"]', "wikitext2_line (mine)"),
    ],
)
def test_the_label_follows_the_suites_text(parse, changes, task):
    assert parse(f"{HEAD}{ADAMW}[set]\n{changes}\n").task == task


def test_a_path_of_a_wrong_type_is_refused(parse):
    with pytest.raises(UserError, match=r"data\.path is 5; it must be"):
        parse(HEAD + ADAMW + "[set]\ndata.path = 5\n")
