"""Reading reports back: round trips, and what a malformed report gets."""

import json
import math
from pathlib import Path

import pytest

from arsbench import report
from arsbench.errors import UserError
from arsbench.metrics import perplexity
from arsbench.runs.folder import RunFolder

SEED_PATH = Path(__file__).with_name("seed_report.md")
SEED = SEED_PATH.read_text(encoding="utf-8")
SEED_LINES = SEED.split("\n")
HEADERS_LINE = next(n for n, line in enumerate(SEED_LINES, start=1) if line.startswith("| Epoch"))
FINAL_LINE = next(n for n, line in enumerate(SEED_LINES, start=1) if line.startswith("- **Final"))


def import_text(text, tmp_path, name="imported"):
    path = tmp_path / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    return report.import_markdown(path, tmp_path / name)


def summary(run):
    return (run.path / "summary.md").read_text(encoding="utf-8")


def test_the_seed_report_comes_back_but_for_its_best_line(tmp_path):
    run = report.import_markdown(SEED_PATH, tmp_path / "seed")
    differing = [
        (old, new) for old, new in zip(SEED_LINES, summary(run).split("\n"), strict=True) if old != new
    ]
    assert differing == [
        (
            "- **Best Validation Metrics**: wikitext2_line Loss: 5.06, wikitext2_line Perplexity: 82.10",
            "- **Best Validation Metrics**: wikitext2_line Loss: 4.41, wikitext2_line Perplexity: 82.10",
        )
    ]


def test_an_imported_folder_holds_what_the_report_says(tmp_path):
    report.import_markdown(SEED_PATH, tmp_path / "seed")
    run = RunFolder.open(tmp_path / "seed")
    assert run.status["state"] == "imported"
    assert (run.effective, run.environment, run.groups, run.steps()) == ({}, {}, [], [])
    assert run.config["model"]["vocabulary_size"] == 40479
    assert run.config["optimizer"]["eps"] == 1e-8
    first, *_, last = run.epochs()
    assert first == {
        "epoch": 1,
        "task": "wikitext2_line",
        "train_loss": 5.5468,
        "lr": 0.0001,
        "pi": 0.445,
        "effective_gamma": None,
        "entropy": 0.0,
        "grad_norm": 0.8098,
        "epoch_seconds": 551.23,
        "peak_gpu_mib": 3108.8,
        "diagnostics": {"cos_pos_0": 0.0330, "cos_pos_2": 0.0930, "cos_pos_3": 0.0632, "cos_pos_4": 0.0404},
        "evaluation": {"validation": {"seed": {"loss": 5.06, "perplexity": 158.21}}},
    }
    assert last["evaluation"]["validation"]["seed"] == {
        "loss": 4.407930149960873,
        "perplexity": 82.09935416309474,
    }


def variants():
    """Reports of the reference format that differ from the first one, each by name."""
    table_end = SEED_LINES.index("", HEADERS_LINE)
    head, tail = SEED_LINES[: HEADERS_LINE - 1], SEED_LINES[table_end:]
    best, final = "- **Best Validation Metrics**: ", "- **Final Validation Metrics**: "

    def build(diagnostics, rows, best_text, final_text):
        headers = [
            *("Epoch", "Task", "Train Loss", "LR", "PI", "Eff. Gamma", "Entropy", "Grad Norm"),
            *("Epoch Time (s)", "Peak GPU Mem (MB)", *(f"Diag {name}" for name in diagnostics)),
            *("Eval Loss", "Eval Perplexity"),
        ]
        rule = "|" + "|".join("-" * (len(header) + 2) for header in headers) + "|"
        table = ["| " + " | ".join(headers) + " |", rule, *rows]
        return "\n".join([*head, *table, *tail[:2], best + best_text, final + final_text, ""])

    middle = "1.0000 | 0.000100 | N/A | 0.125 | 0.000 | N/A | 1.00 | N/A"
    yield "no diagnostics", build(
        [], [f"| 1 | t | {middle} | 2.00 | 7.39 |"], "t Loss: 2.00, t Perplexity: 7.39",
        't: {"loss": 2.0, "perplexity": 7.38905609893065}',
    )  # fmt: skip
    yield (
        "other diagnostics in an order of their own",
        build(
            ["phi", "cos_pos_10", "cos_pos_2"],
            [f"| 1 | t | {middle} | N/A | -0.5000 | N/A | 2.00 | 7.39 |"],
            "t Loss: 2.00, t Perplexity: 7.39",
            't: {"loss": 2.0, "perplexity": 7.38905609893065}',
        ),
    )
    yield (
        "several tasks, the last epoch of one not evaluated",
        build(
            [],
            [
                f"| 1 | a | {middle} | 2.00 | 7.39 |",
                f"| 1 | a (mini) | {middle} | 3.00 | N/A |",
                f"| 2 | a | {middle} | 2.50 | 12.18 |",
                f"| 2 | a (mini) | {middle} | N/A | N/A |",
            ],
            "a Loss: 2.00, a Perplexity: 7.39, a (mini) Loss: 3.00, a (mini) Perplexity: N/A",
            'a: {"loss": 2.5, "perplexity": 12.182493960703473}, a (mini): {"loss": 3.001}',
        ),
    )
    yield (
        "task names that hold a bar, a comma or one another",
        build(
            [],
            [
                f"| 1 | a: {{ | {middle} | 2.00 | 7.39 |",
                rf"| 1 | a\|b, c | {middle} | 2.00 | 7.39 |",
                f"| 1 | a | {middle} | 2.00 | 7.39 |",
            ],
            "a: { Loss: 2.00, a: { Perplexity: 7.39, a|b, c Loss: 2.00, a|b, c Perplexity: 7.39, "
            "a Loss: 2.00, a Perplexity: 7.39",
            'a: {: {"loss": 2.0, "perplexity": 7.389}, a|b, c: {"loss": 2.0, "perplexity": 7.389}, '
            'a: {"loss": 2.0, "perplexity": 7.389}',
        ),
    )
    yield "a diverged run", build(
        [], [f"| 1 | t | {middle} | nan | > 1e6 |"], "t Loss: N/A, t Perplexity: N/A",
        't: {"loss": NaN, "perplexity": "> 1e6"}',
    )  # fmt: skip
    yield (
        "nothing evaluated",
        build([], [f"| 1 | t | {middle} | N/A | N/A |"], "t Loss: N/A, t Perplexity: N/A", "N/A"),
    )
    yield "no epoch", build([], [], "N/A (no epoch is complete)", "N/A")


@pytest.mark.parametrize(("name", "text"), [pytest.param(*v, id=v[0]) for v in variants()])
def test_any_report_of_the_form_comes_back_line_for_line(tmp_path, name, text):
    assert summary(import_text(text, tmp_path)) == text


@pytest.mark.parametrize("form", ["new", "old"])
def test_a_perplexity_beyond_the_limit_comes_back(tmp_path, run, seed_record, form):
    """As infinite, but for the last epoch's, which follows from the loss; older reports have all digits."""
    for epoch, loss in enumerate((620.25, 1000.0, 14.0), start=1):
        figures = {"loss": loss, "perplexity": perplexity(loss)}
        run.append_epoch(seed_record(epoch=epoch, evaluation={"validation": {"seed": figures}}))
    text = report.render(run).split("\n## Details")[0]
    reference = text
    if form == "old":
        for loss in (620.25, 1000.0, 14.0):
            text = text.replace(f"| {loss:.2f} | > 1e6 |", f"| {loss:.2f} | {perplexity(loss):.2f} |")
        text = text.replace('"> 1e6"', repr(perplexity(14.0)))
        assert "> 1e6" not in text.replace("Perplexity: > 1e6", "")
    else:
        assert [row[-1] for row in report.results_table(run)[1:]] == ["> 1e6"] * 3
        assert '{"loss": 14.0, "perplexity": "> 1e6"}' in text
        assert max(map(len, text.split("\n"))) < 400
    back = import_text(text, tmp_path)
    losses = [record["evaluation"]["validation"]["seed"] for record in back.epochs()]
    first = perplexity(620.25) if form == "old" else math.inf
    assert [figures["perplexity"] for figures in losses] == [
        pytest.approx(first),
        math.inf,
        perplexity(14.0),
    ]
    assert summary(back) == reference


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "windows.md"
    path.write_bytes(b"\xef\xbb\xbf" + SEED.replace("\n", "\r\n").encode())
    run = report.import_markdown(path, tmp_path / "out")
    assert len(run.epochs()) == 5


def replaced(old, new, count=1):
    assert old in SEED
    return SEED.replace(old, new, count)


def row(number):
    return HEADERS_LINE + 1 + number


MALFORMED = {
    "empty": ("", r"line 2: the report ends too early"),
    "another document": ("# Shopping\n", r"line 1: .*Experiment Report"),
    "no configuration": (replaced("## Configuration Summary", "## Setup"), "line 3: .*Configuration Summary"),
    "configuration not JSON": (replaced('"seed": 42,', '"seed": 42'), "line 11: .*not JSON"),
    "configuration nested deeply": (
        replaced('"seed": 42,', '"seed": ' + "[" * 5000 + "]" * 5000 + ","),
        "line 5: .*nested more than 100 levels deep",
    ),
    "configuration with a key twice": (
        replaced('"seed": 42,', '"seed": 42, "seed": 42,'),
        "line 5: the configuration is refused: the key 'seed' appears twice",
    ),
    "configuration with a lone surrogate": (
        replaced('"seed": 42,', r'"seed": "\ud800",'),
        "line 5: .*lone surrogate",
    ),
    "final nested deeply": (
        replaced('474}', "474, " + '"a": ' + "[" * 5000 + "]" * 5000 + "}"),
        f"line {FINAL_LINE}: .*nested more than 100 levels deep",
    ),
    "configuration not an object": ("\n".join([*SEED_LINES[:4], "[]", "```"]), "line 5: .*not a JSON object"),
    "fence never closed": (replaced("\n```\n\n", "\n\n"), "ends too early"),
    "cut in the table's head": ("\n".join(SEED_LINES[:HEADERS_LINE]), "ends too early"),
    "column renamed": (replaced("| PI |", "| Pi |"), "column 'Pi' stands where the format has 'PI'"),
    "column missing": (replaced(" | LR | PI |", " | PI |"), f"line {HEADERS_LINE}: .*'PI' .* has 'LR'"),
    "column added": (replaced("Eval Perplexity |", "Eval Perplexity | Mood |"), "'Mood' .* has no column"),
    "column twice": (replaced("Diag cos_pos_2", "Diag cos_pos_0"), "'Diag cos_pos_0' stands where"),
    "rule missing": (replaced("|-------|", "| 1 |"), f"line {HEADERS_LINE + 1}: the rule"),
    "cell missing": (replaced("| 3108.8 ", ""), f"line {row(1)}: .* 15 cells; the table has 16"),
    "row cut": (replaced("| 4.71 | 110.95 |", "| 4.71 | 110"), f"line {row(2)}: .*begins and ends"),
    "cell not a number": (replaced("0.6852", "O.6852"), f"line {row(2)}: 'O.6852' in column 'Grad Norm'"),
    "epoch not whole": (replaced("| 3 | wiki", "| 3.5 | wiki"), f"line {row(3)}: '3.5' in column 'Epoch'"),
    "epoch not available": (replaced("| 3 | wiki", "| N/A | wiki"), f"line {row(3)}: a row needs an epoch"),
    "no best line": (replaced("- **Best", "- **Worst"), f"line {FINAL_LINE - 1}: .*Best"),
    "no final line": ("\n".join(SEED_LINES[: FINAL_LINE - 1]), "ends too early"),
    "epoch twice": (replaced("| 3 | wiki", "| 2 | wiki"), f"line {row(3)}: epoch 2 of 'wiki.* comes"),
    "final of another task": (replaced(": wikitext2_line: {", ": lines: {"), f"line {FINAL_LINE}: 'lines"),
    "final not JSON": (replaced('474}', "474"), f"line {FINAL_LINE}: .*not JSON"),
    "final has a text for a loss": (
        replaced('"loss": 4.407930149960873', '"loss": "> 1e6"'),
        "not a number",
    ),
    "final is not above the limit": (replaced("| 82.10 |", "| > 1e6 |"), "but > 1e6 in its row"),
    "final lacks a metric": (replaced(', "perplexity": 82.09935416309474', ""), "is N/A, but 82.10"),
    "final not a number": (replaced("4.407930149960873", "true"), "is not a number"),
    "final contradicts its row": (replaced("4.407930149960873", "4.507930149960873"), "but 4.41 in its row"),
    "final missing": (SEED.split("wikitext2_line: {")[0] + "N/A", f"line {FINAL_LINE}: 'N/A' is not"),
    "final empty": (SEED.split(" wikitext2_line: {")[0], f"line {FINAL_LINE}: "),
    "something behind": (SEED + "\nP.S. It works!\n", f"line {FINAL_LINE + 2}: only another section"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_report_is_refused_with_line_and_problem(tmp_path, text, problem):
    with pytest.raises(UserError, match=problem) as caught:
        import_text(text, tmp_path)
    assert str(tmp_path / "imported.md") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "imported").exists()


def test_a_report_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "binary.md").write_bytes(b"\x89PNG\r\n\xff")
    for path, problem in [("absent.md", "No such file"), ("binary.md", "not UTF-8"), (".", "directory")]:
        with pytest.raises(UserError, match=problem):
            report.import_markdown(tmp_path / path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_import_never_overwrites(tmp_path):
    report.import_markdown(SEED_PATH, tmp_path / "seed")
    with pytest.raises(UserError, match="not empty"):
        report.import_markdown(SEED_PATH, tmp_path / "seed")


def test_final_numbers_round_trip_in_full(tmp_path):
    final = summary(report.import_markdown(SEED_PATH, tmp_path / "seed")).split("wikitext2_line: ")[1]
    assert json.loads(final) == {"loss": 4.407930149960873, "perplexity": 82.09935416309474}
