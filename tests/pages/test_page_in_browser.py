"""The page in a browser: what its script does, and whether everything fits.

A script that only the tests have is put into a copy of the page; it uses the page and leaves what it saw in
the document, which the browser prints.
"""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import escape, unescape

import pytest

from arsbench.analysis.overview import overview
from arsbench.pages.html import write_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="there is no chromium, chromium-browser or google-chrome on the PATH"
)

# Before the page's own script: whatever the policy forbids, or throws.
LISTEN = """
const problems = [];
addEventListener("error", (event) => problems.push(event.message));
document.addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
"""
PROBE = """
const seen = {problems};
const boxes = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.getClientRects().length);
const heads = () => [...document.querySelectorAll("#results tbody th")];
const column = () => heads().slice(0, 3).map((e) => e.textContent);
const header = document.querySelectorAll("#results thead th")[2];
const other = document.querySelectorAll("#results thead th")[0];
seen.sorts = [];
for (const button of [header, header, other].map((cell) => cell.querySelector("button"))) {
  button.focus();
  button.click();
  const sorts = [header, other].map((cell) => cell.getAttribute("aria-sort"));
  seen.sorts.push([document.activeElement === button, ...sorts, ...column()]);
}
const shown = () => boxes("[data-budget]").map((e) => e.dataset.budget);
seen.budgets = [shown()];
for (const value of ["passes", "seconds"]) {
  const choice = document.querySelector(`.switch input[value=${value}]`);
  choice.focus();
  choice.click();
  seen.budgets.push(shown());
}
const top_ = (selector) => document.querySelector(selector).getBoundingClientRect().top;
seen.order = [...document.querySelectorAll("main > section")].map((e) => [e.id, top_(`#${e.id}`)]);
const open = boxes(".scroll").filter((e) => !e.closest("details:not([open])"));
seen.scrolling = open.filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => [
  e.getAttribute("aria-label"), getComputedStyle(e, "::before").content, getComputedStyle(e).backgroundImage,
]);
seen.hints = open.filter((e) => e.matches(".wide")).length;
document.querySelectorAll("details").forEach((e) => { e.open = true; });
seen.visible = Object.fromEntries(boxes(".scroll").map((region) => [
  region.getAttribute("aria-label"),
  [...region.querySelectorAll("thead th")]
    .filter((e) => e.getBoundingClientRect().right <= region.getBoundingClientRect().right + 1)
    .map((e) => e.textContent.trim()),
]));
seen.tabs = boxes("a, button, input, summary, [tabindex]").every((e) => e.tabIndex >= 0);
// From here on everything is shown at once.
document.querySelectorAll("details").forEach((e) => { e.open = true; });
document.querySelectorAll(".off").forEach((e) => { e.classList.remove("off"); });
seen.width = [innerWidth, document.documentElement.scrollWidth];
seen.tables = boxes(".scroll").every((e) => e.getBoundingClientRect().right <= innerWidth + 1);
const outside = (text) => {
  const [own, all] = [text, text.closest("svg")].map((e) => e.getBoundingClientRect());
  return own.left < all.left - 1 || own.right > all.right + 1 || own.top < all.top - 1
    || own.bottom > all.bottom + 1;
};
const inside = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
  && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
seen.cut = boxes("svg text").filter(outside).map((e) => e.textContent);
seen.overlapping = boxes("svg.chart").flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text")];
  return texts.flatMap((one, i) => texts.slice(i + 1)
    .filter((two) => inside(one.getBoundingClientRect(), two.getBoundingClientRect()))
    .map((two) => [one.textContent, two.textContent]));
});
seen.letters = Math.min(...boxes("svg text").map((e) => e.getBoundingClientRect().height));
const style = (selector) => getComputedStyle(document.querySelector(selector));
seen.colours = [
  style("body").backgroundColor, style("svg text").fill, style("svg path[style*=series-0]").stroke,
];
const result = document.createElement("pre");
result.id = "seen";
result.textContent = JSON.stringify(seen);
document.body.append(result);
"""
# No window is narrower than 500 pixels; a frame may be.
FRAME = """<!DOCTYPE html>
<iframe width="{width}" height="700" style="border: 0" srcdoc="{page}"></iframe>
<script>
addEventListener("load", () => {{
  document.body.append(document.querySelector("iframe").contentDocument.getElementById("seen"));
  document.querySelector("iframe").remove();
}});
</script>"""


@pytest.fixture(scope="module")
def source(made_run, tmp_path_factory):
    """A page of everything there is, with long names."""
    names = ("AdamW", "Muon", "ARS with a name that is far too long for the legend of a picture (second)")
    runs = [
        made_run(name, seed, loss=4.0 + 0.1 * (place % 2), passes=10 + place, task="mod_addition (made)")
        for place, name in enumerate(names)
        for seed in (1, 2)
    ]
    for run in runs[2:]:
        run.epochs[-1]["diagnostics"] = {
            name: 0.1 for i in range(5) for name in (f"cos_pos_{i}", f"cos_pos_{i}_pre")
        }
    found = replace(overview(runs), warnings=["A warning. " * 20])
    page = write_page(runs, tmp_path_factory.mktemp("page") / "report.html", found)
    return page.read_text(encoding="utf-8")


@pytest.fixture
def look(source, tmp_path):
    """`look(width=…, dark=False)`: what the probe sees in a window of that width."""

    def look(*, width, dark=False):
        page = tmp_path / "probed.html"
        text = re.sub(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", source)
        text = text.replace("<style>", f"<script>{LISTEN}</script><style>", 1)
        text = text.replace("</body>", f"<script>{PROBE}</script></body>")
        if width < 500:
            text = FRAME.format(width=width, page=escape(text))
        page.write_text(text, encoding="utf-8")
        command = [
            BROWSER,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={max(width, 500)},800",
            "--dump-dom",
            page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        match = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
        assert match, done.stderr
        return json.loads(unescape(match[1]))

    return look


@pytest.fixture(scope="module")
def names():
    """The contenders' names as the table has them."""
    return ["AdamW", "Muon", "ARS with a name that is far too long for the legend of a picture (second)"]


def test_tables_sort_and_the_switch_switches(look, names):
    seen = look(width=1200)
    assert seen["problems"] == []
    adamw, muon, ars = names
    # Accuracy, the third column, is 1 / loss: best at 4.0, where the first and the last are equal.
    assert seen["sorts"] == [
        [True, "ascending", None, muon, adamw, ars],
        [True, "descending", None, adamw, ars, muon],
        [True, None, "ascending", adamw, ars, muon],
    ]
    assert seen["budgets"] == [["steps"], ["passes"], ["seconds"]]
    assert seen["tabs"]


def test_on_a_desktop_the_deciding_columns_are_visible_without_scrolling(look):
    visible = look(width=1280)["visible"]
    assert visible["Results by contender"][:6] == ["Contender", "Mean", "Median", "Range", "Best", "Runs"]
    assert visible["At equal steps"] == ["Contender", "Difference", "Verdict", "95 % CI", "d_z", "n"]
    assert visible["All runs: validation accuracy"][:2] == ["Run", "Final"]


def test_on_a_phone_verdict_and_differences_come_first_and_tables_say_that_they_scroll(look):
    seen = look(width=390)
    names, tops = zip(*seen["order"], strict=True)
    assert names[:2] == ("verdict", "comparisons")
    assert list(tops) == sorted(tops)
    assert "At equal steps" in {label for label, *_ in seen["scrolling"]}
    assert seen["hints"] == len(seen["scrolling"])
    for _, hint, shadow in seen["scrolling"]:
        assert "Scroll" in hint
        assert shadow.count("linear-gradient") == 4


@pytest.mark.parametrize("width", [1200, 360])
def test_everything_fits(look, width):
    seen = look(width=width)
    assert seen["width"] == [width, width]
    assert seen["tables"]
    assert seen["cut"] == []
    assert seen["overlapping"] == []
    assert seen["letters"] >= 10


def test_light_and_dark(look):
    assert look(width=800)["colours"] == ["rgb(254, 254, 254)", "rgb(36, 41, 46)", "rgb(26, 57, 249)"]
    assert look(width=800, dark=True)["colours"] == [
        "rgb(20, 24, 29)",
        "rgb(228, 232, 236)",
        "rgb(98, 162, 240)",
    ]


def test_the_pages_own_policy_lets_its_script_run(source, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(source, encoding="utf-8")
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'p'}",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert '<button type="button">' in done.stdout
