"""What the charts show, and the files they are drawn to."""

import math
import re
from importlib.resources import files
from xml.etree import ElementTree

import pytest

from arsbench.analysis.overview import overview
from arsbench.metrics import METRICS
from arsbench.pages.chart_data import Chart, Series
from arsbench.pages.charts import GRID, INK, PALETTE, PAPER, draw, write_plots
from arsbench.pages.markdown import render
from arsbench.pages.run_charts import charts, cosine_charts, cost_charts, gradient_charts, learning_curves
from arsbench.pages.run_tables import chart_values, time_and_memory
from arsbench.pages.tables import results

LOSS = METRICS["wikitext2_line"][0]
STYLE = (files("arsbench.pages") / "templates" / "page.css").read_text(encoding="utf-8")


def curves(runs, budget, metric=LOSS):
    """The series of the deciding metric's chart."""
    return dict(learning_curves(runs, metric))[budget][0].series


def logged(steps, *, every=1):
    """A run's records of its steps, with the step for its loss."""
    return [
        {"step": step, "epoch": (step - 1) // 10 + 1, "loss": float(step), "grad_norm": 1.0}
        for step in range(every, steps + 1, every)
    ]


def with_cosines(run, after, before=None):
    """The run with these cosines in its last epoch, by their positions."""
    run.epochs[-1]["diagnostics"] = {
        **{f"cos_pos_{position}": value for position, value in after.items()},
        **{f"cos_pos_{position}_pre": value for position, value in (before or {}).items()},
    }
    return run


def test_mean_and_range_over_seeds(made_run):
    (series,) = curves([made_run(seed=seed) for seed in (1, 2, 6)], "steps")
    assert series.x == (10, 20, 30)
    assert series.mean == pytest.approx((4.03 + 2 / 3, 4.03 + 1 / 3, 4.03))
    assert series.low[-1] == pytest.approx(4.01)
    assert series.high[-1] == pytest.approx(4.06)


def test_each_budget_has_its_own_axis(made_run):
    runs = [made_run("AdamW"), made_run("ARS sync", passes=20)]
    by_budget = {budget: [s.x[-1] for s in curves(runs, budget)] for budget in ("steps", "passes", "seconds")}
    assert by_budget == {"steps": [30, 30], "passes": [30, 60], "seconds": [6, 6]}


def test_deciding_metric_first_then_the_losses(made_run):
    names = {
        task: [chart.name for chart in learning_curves([made_run(task=task)])[0][1]]
        for task in ("wikitext2_line", "mod_addition")
    }
    assert names == {
        "wikitext2_line": ["loss-by-steps", "train-loss-by-steps"],
        "mod_addition": ["accuracy-by-steps", "loss-by-steps", "train-loss-by-steps"],
    }


def test_few_epochs_are_drawn_by_logged_steps(made_run):
    run = made_run(epochs=3, passes=20, steps=logged(30))
    budgets = {budget: some[1].series[0] for budget, some in learning_curves([run], LOSS)}
    assert budgets["steps"].x == tuple(range(1, 31))
    assert budgets["steps"].mean == tuple(range(1, 31))
    assert budgets["passes"].x == pytest.approx(range(2, 61, 2))
    assert budgets["seconds"].x == pytest.approx([0.2 * step for step in range(1, 31)])


def test_logged_steps_are_averaged_over_windows(made_run):
    run = made_run(epochs=13, steps=logged(135))  # five steps of an epoch that has not ended
    series = learning_curves([run], LOSS)[0][1][1].series[0]
    assert series.x == tuple(range(3, 130, 3))  # without step 130, which is alone in its window
    assert series.mean == tuple(float(step - 1) for step in range(3, 130, 3))


def test_a_run_whose_loss_is_not_known_at_every_step_is_drawn_by_epochs(made_run):
    some = learning_curves([made_run(), made_run(seed=2, steps=logged(30))], LOSS)
    assert some[0][1][1].series[0].x == (10, 20, 30)


def test_long_runs_are_thinned_to_both_ends(made_run):
    (series,) = curves([made_run(epochs=600)], "steps")
    assert len(series.x) <= 120
    assert (series.x[0], series.x[-1]) == (10, 6000)


def test_a_report_without_steps_is_drawn_by_seconds_and_named_elsewhere(made_run):
    run = made_run("ARS")
    imported = made_run("published", state="imported")
    for record in imported.epochs:
        del record["step"], record["forward_backward_passes"]
    found = dict(learning_curves([run, imported], LOSS))
    assert [s.label for s in found["steps"][0].series] == ["ARS"]
    assert found["steps"][0].description.endswith("No data for published.")
    assert [s.label for s in found["seconds"][0].series] == ["ARS", "published"]
    assert [s.place for s in found["seconds"][0].series] == [0, 1]
    assert [chart.name for chart in gradient_charts([imported])] == ["grad-norm-by-seconds", "pi-by-seconds"]


def test_a_steep_beginning_is_left_out_and_said(made_run):
    run = made_run(epochs=30)
    run.epochs[0]["evaluation"]["validation"]["strict"]["loss"] = 40.0
    chart = learning_curves([run], LOSS)[0][1][0]
    assert 4.0 < chart.top < 6.0
    assert "at the start, are cut off" in chart.description
    assert learning_curves([made_run(epochs=30)], LOSS)[0][1][0].top is None
    few = made_run(epochs=5)
    few.epochs[0]["evaluation"]["validation"]["strict"]["loss"] = 40.0
    assert learning_curves([few], LOSS)[0][1][0].top is None


def test_wide_gradient_norms_are_drawn_on_a_logarithmic_scale(made_run):
    run = made_run()
    assert not gradient_charts([run])[0].log
    run.epochs[0]["grad_norm"] = 75.0
    assert gradient_charts([run])[0].log


def test_cosines_over_the_cycle(made_run):
    runs = [
        made_run("AdamW"),
        with_cosines(made_run("ARS", 1), {2: 0.3, 3: 0.2, 4: 0.1, 0: 0.05}, {2: 0.2, 0: -0.1}),
        with_cosines(made_run("ARS", 2), {2: 0.5, 3: 0.2, 4: 0.1, 0: 0.07}, {2: 0.4, 0: -0.3}),
    ]
    (chart,) = cosine_charts(runs)
    after, before = chart.series
    assert (after.label, before.label) == ("ARS, after injection", "ARS, before injection")
    assert after.x == (2, 3, 4, 5)
    assert after.mean == pytest.approx((0.4, 0.2, 0.1, 0.06))
    assert (after.low[0], after.high[0]) == (0.3, 0.5)
    assert (before.x, before.mean) == ((2, 5), pytest.approx((0.3, -0.2)))
    assert after.place == before.place == 1
    assert chart.ticks == {2: "2", 3: "3", 4: "4", 5: "0"}
    assert cosine_charts(runs[:1]) == []


def test_position_0_is_last_whatever_the_length_of_the_cycle(made_run):
    runs = [
        with_cosines(made_run("short"), {0: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}),
        with_cosines(made_run("long"), {0: 0.1, **dict.fromkeys(range(2, 10), 0.2)}),
    ]
    (chart,) = cosine_charts(runs)
    order = ["2", "3", "4", "5", "6", "7", "8", "9", "0"]
    assert list(chart.ticks.values()) == order
    short, long = chart.series
    assert [chart.ticks[x] for x in short.x] == ["2", "3", "4", "0"]
    assert [chart.ticks[x] for x in long.x] == order
    assert [row[1].text for row in chart_values(chart).rows][:4] == ["2", "3", "4", "0"]


def strict(run, loss):
    """The run with the training loss per real target in its epochs."""
    for record in run.epochs:
        record["train_loss_strict"] = loss
    return run


def test_the_training_loss_counts_the_targets_that_validation_counts(made_run):
    def training(*runs):
        return learning_curves(list(runs))[0][1][-1]

    a, b = strict(made_run("A"), 3.0), strict(made_run("B", steps=logged(30)), 2.0)
    assert training(a, b).y_title == "training loss per real target (nats/target)"
    assert [series.mean[-1] for series in training(a, b).series] == [3.0, 2.0]
    mixed = training(a, made_run("old"))
    assert mixed.y_title == "training loss (nats/target, padding counted)"
    assert mixed.series[0].mean[-1] == pytest.approx(4.26)
    for record in (b.steps[i] for i in range(30)):
        record["loss_strict"] = 1.5
    assert training(a, b).series[1].mean == (1.5,) * 30
    without_padding = made_run("old")
    without_padding.config["train"] = {"ignore_padding": True}
    assert training(without_padding).y_title == "training loss per real target (nats/target)"
    assert training(without_padding).series[0].mean[-1] == pytest.approx(4.26)
    assert training(made_run(task="mod_addition")).y_title == "training loss (nats)"


def test_charts_show_the_numbers_of_the_tables(made_run):
    """Where mean, median and extremes differ."""
    runs = [made_run(name, seed, loss=loss) for name, loss in (("A", 4.0), ("B", 3.0)) for seed in (1, 2, 60)]
    for run in runs:
        run.epochs[-1]["peak_rss_mib"] = 1000.0 + run.seed
        run.epochs[0]["epoch_seconds"] = run.seed / 10
    runs.append(made_run("B", 3, epochs=2, loss=90.0, state="interrupted"))  # is left out of the results
    comparison = overview(runs)
    means = [row[1].text for row in results(comparison).rows]
    assert means[0] == "4.2100"
    complete = runs[:-1]
    last = [series.mean[-1] for series in curves(complete, "steps")]
    assert [f"{value:.4f}" for value in last] == means
    table = time_and_memory(comparison)
    time, memory = cost_charts(runs)
    column = {header: [row[i].text for row in table.rows] for i, header in enumerate(table.headers)}
    assert column["ms/step"] == [f"{series.mean[0]:,.1f}" for series in time.series] == ["203.3", "203.3"]
    assert column["Peak resident MiB"] == [f"{series.mean[0]:,.0f}" for series in memory.series]
    assert [row[1].text for row in chart_values(time).rows] == ["203.33", "203.33"]
    text = render(comparison)
    assert all(value in text for values in (means, column["ms/step"]) for value in values)


def test_time_and_memory(made_run):
    time, memory = cost_charts([made_run("AdamW"), made_run("ARS")])
    assert [s.mean for s in time.series] == [(200.0,), (200.0,)]
    assert (memory.title, memory.series[0].mean) == ("Peak resident memory, highest of any run", (900.0,))
    on_gpu = made_run()
    on_gpu.epochs[1]["peak_gpu_mib"] = 3000.0
    memory = cost_charts([on_gpu, made_run("AdamW")])[1]
    assert [(s.label, s.mean) for s in memory.series] == [("ARS", (3000.0,))]
    assert memory.title == "Peak GPU memory, highest of any run"
    assert cost_charts([made_run(seed=1), made_run(seed=2)]) == []


def test_plots_are_written_in_every_format(made_run, tmp_path):
    runs = [with_cosines(made_run(name, seed), {2: 0.1, 0: 0.2}) for name in ("A", "B") for seed in (1, 2)]
    plots = write_plots(runs, tmp_path / "plots")
    assert len(plots) == len(charts(runs)) == 11
    for plot in plots:
        assert plot.path.parent == tmp_path / "plots"
        assert plot.title
        assert plot.description
        assert ElementTree.parse(plot.path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert plot.path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    first = {plot.path: plot.path.read_bytes() for plot in plots}
    assert {plot.path: plot.path.read_bytes() for plot in write_plots(runs, tmp_path / "plots")} == first


def test_labels_are_text_as_they_are(made_run, tmp_path):
    label = "<A> & $x^2$"
    plots = write_plots([made_run(label), made_run("B")], tmp_path)
    texts = ["".join(e.itertext()) for e in ElementTree.parse(plots[0].path).iter() if e.tag.endswith("text")]
    assert label in texts


@pytest.mark.parametrize(
    "names",
    [
        ["AdamW", "Muon", "ARS", "AdaMuon", "RMSuon"],
        ["WWWWWWW", "MMMMMMM", "WMWMWMW", "MWMWMWM", "W"],
        [f"contender {n} with a name that is far too long to be shown" for n in range(3)],
        [*"abcdefghijkl"],
    ],
)
def test_the_legend_is_inside_the_picture(names):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    value = (1.0, 2.0)
    series = tuple(Series(name, place, value, value, value, value) for place, name in enumerate(names))
    figure = draw(Chart("name", "title", "description", "x", "y", series))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (legend,) = figure.legends
    extent = legend.get_window_extent(canvas.get_renderer())
    assert extent.x0 >= 0
    assert extent.x1 <= figure.bbox.width


def test_values_that_are_not_finite_leave_a_gap(made_run, tmp_path):
    run = made_run(epochs=4)
    run.epochs[2]["evaluation"]["validation"]["strict"]["loss"] = math.nan
    run.epochs[3]["train_loss"] = math.inf
    for plot in write_plots([run, made_run("B", epochs=4)], tmp_path):
        assert "nan" not in plot.path.read_text(encoding="utf-8").lower()


def test_a_run_without_epochs_has_no_plots(made_run, tmp_path):
    assert write_plots([made_run(epochs=0, state="running")], tmp_path) == []


def palette(css):
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", css))


LIGHT, DARK = (palette(css) for css in STYLE.split("@media (prefers-color-scheme: dark)")[:2])


def test_the_page_has_the_colours_of_the_files():
    series = {f"series-{number}": colour for number, colour in enumerate(PALETTE)}
    assert {"paper": PAPER, "ink": INK, "grid": GRID, **series}.items() <= LIGHT.items()
    assert DARK.keys() == LIGHT.keys()


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_from_the_paper(scheme):
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(one, other):
        low, high = sorted((luminance(scheme[one]), luminance(scheme[other])))
        return (high + 0.05) / (low + 0.05)

    for name in scheme:
        if name.startswith("series-"):
            assert contrast(name, "paper") >= 3, name
    for name, behind in (("ink", "paper"), ("ink", "raised"), ("faint", "paper"), ("faint", "raised")):
        assert contrast(name, behind) >= 4.5
    for name, behind in (("accent", "paper"), ("warning", "warning-paper"), ("ink", "warning-paper")):
        assert contrast(name, behind) >= 4.5
