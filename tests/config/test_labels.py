"""The label of a text follows its source, unless it is given."""

import pytest

from arsbench.config import load_config

FILES = ["data.source=files", "data.path=my/texts", "data.train_file=a", "data.validation_file=b"]


@pytest.mark.parametrize(
    ("preset", "overrides", "task"),
    [
        ("demo", [], "wikitext2_line (pydocs)"),
        ("demo", ["data.batch_size=8"], "wikitext2_line (pydocs)"),
        ("demo", FILES, "wikitext2_line (files: texts)"),
        ("demo", [*FILES, "data.path=a/b (2)|/"], "wikitext2_line (files: b 2)"),
        ("demo", [*FILES, 'experiment.tasks=["wikitext2_line (books)"]'], "wikitext2_line (books)"),
        ("demo", ["data.source=hub"], "wikitext2_line"),
        ("demo", ["data.source=files"], "wikitext2_line (files)"),
        ("seed", [], "wikitext2_line"),
        ("seed", ["data.path=wikitext-2"], "wikitext2_line"),
        ("seed", ["data.source=pydocs"], "wikitext2_line (pydocs)"),
        ("seed", FILES, "wikitext2_line (files: texts)"),
        ("seed-mini", [], "wikitext2_line (mini)"),
        ("seed-mini", ["data.path=wikitext-2"], "wikitext2_line (mini)"),
        ("seed-mini", ["data.train_file=other"], "wikitext2_line (files)"),
        ("mod_addition", ["data.source=pydocs"], "mod_addition"),
    ],
)
def test_the_label_of_a_text(preset, overrides, task):
    config = load_config(preset, overrides)
    assert config.task == task
    assert config.given["experiment"]["tasks"] == [task]


def test_a_run_that_began_under_the_files_label_keeps_it():
    before = load_config("demo").given
    begun = before | {"data": before["data"] | {"source": "files", "path": "my/texts"}}
    assert load_config("demo", FILES, begun=begun).task == "wikitext2_line (pydocs)"
    begun = load_config("demo", FILES).given
    assert load_config("demo", FILES, begun=begun).task == "wikitext2_line (files: texts)"


def test_a_files_own_label_goes_with_its_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[experiment]\ntasks = ["wikitext2_line (books)"]\n[data]\nsource = "files"\npath = "books"\n'
    )
    assert load_config(str(path)).task == "wikitext2_line (books)"
    assert load_config(str(path), ["data.path=letters"]).task == "wikitext2_line (files: letters)"
