"""Reports: the reference format to the letter, the details after it, and what the terminal prints."""

import json
import math
import subprocess
import sys
from pathlib import Path

from arsbench import report

SEED = Path(__file__).with_name("seed_report.md").read_text(encoding="utf-8")
SEED_HEADERS, SEED_RULE, *SEED_ROWS = [line for line in SEED.split("\n") if line.startswith("|")]


def line_of(text, start):
    (line,) = [line for line in text.split("\n") if line.startswith(start)]
    return line


def test_a_record_becomes_the_seed_reports_row(run, seed_record):
    run.append_epoch(seed_record())
    lines = report.render(run).split("\n")
    at = lines.index(SEED_HEADERS)
    assert lines[at : at + 3] == [SEED_HEADERS, SEED_RULE, SEED_ROWS[0]]


def test_the_terminals_table_has_the_same_cells(run, seed_record):
    run.append_epoch(seed_record())
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in (SEED_HEADERS, SEED_ROWS[0])]
    assert report.results_table(run) == cells


def test_the_configuration_is_printed_as_it_is_written(run):
    text = report.render(run)
    assert text.split("\n")[:4] == SEED.split("\n")[:4]
    block = text.split("```json\n")[1].split("\n```")[0]
    assert block == json.dumps(
        {"train": {"epochs": 5}, "experiment": {"tasks": ["wikitext2_line"]}}, indent=2
    )


def test_diagnostics_are_in_the_order_of_their_numbers(run, seed_record):
    run.append_epoch(seed_record(diagnostics={f"cos_pos_{i}": 0.5 for i in (10, 2, 0)}))
    run.append_epoch(seed_record(epoch=2, diagnostics={"cos_pos_3": 0.25, "cos_pos_3_pre": 0.1}))
    headers, first, second = report.results_table(run)
    assert headers[10:-2] == ["Diag cos_pos_0", "Diag cos_pos_2", "Diag cos_pos_3", "Diag cos_pos_10"]
    assert first[10:-2] == ["0.5000", "0.5000", "N/A", "0.5000"]
    assert second[10:-2] == ["N/A", "N/A", "0.2500", "N/A"]


def test_an_optimizer_without_diagnostics_has_no_such_columns(run, seed_record):
    run.append_epoch(seed_record(diagnostics={}))
    headers, _ = report.results_table(run)
    assert headers[-3:] == ["Peak GPU Mem (MB)", "Eval Loss", "Eval Perplexity"]


def test_what_is_not_known_is_not_available(run, evaluation):
    run.append_epoch({"epoch": 1, "task": "t", "evaluation": {"validation": evaluation(None)}})
    assert report.results_table(run)[1] == ["1", "t"] + ["N/A"] * 10
    text = report.render(run)
    assert line_of(text, "- **Best V").endswith(": t Loss: N/A, t Perplexity: N/A")
    assert line_of(text, "- **Final V").endswith(": N/A")


def test_best_is_the_smallest_loss_and_final_the_last(run, seed_record, evaluation):
    for epoch, loss in enumerate((3.0, 2.0, 2.5), start=1):
        run.append_epoch(seed_record(epoch=epoch, evaluation={"validation": evaluation(loss)}))
    text = report.render(run)
    assert line_of(text, "- **Best V").endswith(
        ": wikitext2_line Loss: 2.00, wikitext2_line Perplexity: 7.39"
    )
    final = f'wikitext2_line: {{"loss": 2.5, "perplexity": {math.exp(2.5)!r}}}'
    assert line_of(text, "- **Final V") == f"- **Final Validation Metrics**: {final}"


def test_best_and_final_speak_of_each_task(run, seed_record, evaluation):
    for epoch, losses in enumerate(((3.0, 1.0), (2.0, None)), start=1):
        for task, loss in zip(("a", "b (mini)"), losses, strict=True):
            run.append_epoch(seed_record(epoch=epoch, task=task, evaluation={"validation": evaluation(loss)}))
    text = report.render(run)
    best = "a Loss: 2.00, a Perplexity: 7.39, b (mini) Loss: 1.00, b (mini) Perplexity: 2.72"
    assert line_of(text, "- **Best V").endswith(f": {best}")
    final = line_of(text, "- **Final V").removeprefix("- **Final Validation Metrics**: ")
    first, second = (
        json.dumps({"loss": 2.0, "perplexity": math.exp(2)}),
        json.dumps({"loss": 1.0, "perplexity": math.e}),
    )
    assert final == f"a: {first}, b (mini): {second}"


def test_best_leaves_nan_out(run, seed_record, evaluation):
    for epoch, loss in enumerate((math.nan, 2.0, math.nan), start=1):
        run.append_epoch(seed_record(epoch=epoch, evaluation={"validation": evaluation(loss)}))
    assert report.results_table(run)[1][-2:] == ["nan", "nan"]
    text = report.render(run)
    assert "wikitext2_line Loss: 2.00, wikitext2_line Perplexity: 7.39" in line_of(text, "- **Best V")
    assert line_of(text, "- **Final V").endswith('{"loss": NaN, "perplexity": NaN}')


def test_a_run_without_an_epoch_says_so(run):
    text = report.render(run)
    lines = text.split("\n")
    at = lines.index("## Training Results")
    assert lines[at + 1].startswith("| Epoch | Task |")
    assert set(lines[at + 2]) == {"|", "-"}
    assert lines[at + 3 : at + 5] == ["", "## Performance Summary"]
    assert "no epoch is complete" in line_of(text, "- **Best V")


def test_write_puts_the_report_into_the_folder(run):
    path = report.write(run)
    assert path == run.path / "summary.md"
    assert path.read_text(encoding="utf-8") == report.render(run)


def test_reports_load_neither_torch_nor_numpy(run, tmp_path):
    report.write(run)
    program = (
        "import sys; import arsbench.report as report; from arsbench.runs.folder import RunFolder;"
        f"report.write(RunFolder.open({str(run.path)!r}));"
        f"report.import_markdown({str(run.path / 'summary.md')!r}, {str(tmp_path / 'back')!r});"
        "print(*sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
