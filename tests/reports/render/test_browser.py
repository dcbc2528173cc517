"""The pages in a real Chromium: nothing beside the page, no errors, readable by everybody."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports.render.comparison_page import render_comparison_html
from reports.render.html import render_html
from reports.results import ExperimentResult
from tests.reports.conftest import make_result
from tests.reports.render import browser as driver
from tests.reports.render.browser import Browser

pytestmark = pytest.mark.skipif(bool(driver.missing()), reason=driver.missing() or "there is one")

LONG = ("an arm name that somebody typed without an end " * 6)[:250]
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>"
PAGES = ("single", "several", "twin", "hostile", "compared", "replay", "better", "assumed")
EXAMPLE_PAGES = ("replay", "better", "assumed", "guardrail-broken")
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def example(name: str) -> ExperimentResult:
    text = (EXAMPLES / name / "results.json").read_text(encoding="utf-8")
    return ExperimentResult.from_json(text)


@pytest.fixture(scope="module")
def pages(result: ExperimentResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    context = {**result.context, "command": "abtest run " + "x" * 400}
    several = make_result(2, {"sasrec": 1.0, "lsvcr": 1.2, "popular": 0.8}, users=200)
    twin = make_result(3, design="twin", users=150)
    hostile = make_result(4, {LONG: 1.0, "W" * 250: 1.2, HOSTILE: 0.9}, users=150, context=context)
    for name, text in {
        "single": render_html(result),
        "several": render_html(several),
        "twin": render_html(twin),
        "hostile": render_html(hostile),
        "compared": render_comparison_html([("a" * 120, several), (HOSTILE, hostile)]),
        **{name: render_html(example(name)) for name in EXAMPLE_PAGES},
    }.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


# Whatever sticks out to the right of the page, or scrolls by itself, sideways.
BESIDE = """
document.querySelectorAll('details').forEach(d => d.open = true);
const wide = [];
if (document.documentElement.scrollWidth > innerWidth) wide.push('the page');
for (const e of document.body.querySelectorAll('*')) {
  const style = getComputedStyle(e);
  if (e.closest('svg') && e.tagName !== 'svg') continue;
  if (e.closest('.unseen') || e.closest('thead') || e.classList.contains('skip')) continue;
  const box = e.getBoundingClientRect();
  if (box.width && box.right > innerWidth + 1) wide.push(e.tagName + '.' + e.className);
  if (e.scrollWidth > e.clientWidth + 1 && ['auto', 'scroll'].includes(style.overflowX))
    wide.push('scrolls: ' + e.tagName);
}
return wide.slice(0, 5);
"""


@pytest.mark.parametrize("width", [380, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_beside_the_page_and_nothing_goes_wrong(
    browser: Browser, pages: Path, name: str, width: int
) -> None:
    browser.open(pages / f"{name}.html", width=width)
    assert browser.run(BESIDE) == []
    assert browser.run("return innerWidth") == width
    assert [entry["message"] for entry in browser.log()] == []
    assert "taken" not in browser.run("return document.title").replace("='taken'", "")


def test_rows_stack_on_a_phone_and_name_their_columns(browser: Browser, pages: Path) -> None:
    script = """
    const cell = document.querySelector('.metrics.stacks tbody td');
    return [getComputedStyle(cell).display, getComputedStyle(cell, '::before').content];
    """
    browser.open(pages / "single.html", width=380)
    assert browser.run(script) == ["flex", '"Outcome"']
    browser.open(pages / "single.html", width=1280)
    assert browser.run(script) == ["table-cell", "none"]


def test_an_arm_takes_less_than_three_screens(browser: Browser, pages: Path) -> None:
    browser.open(pages / "several.html", width=1280)
    heights = browser.run(
        "return [...document.querySelectorAll('section.comparison')].map(s => s.offsetHeight)"
    )
    assert len(heights) == 2 and max(heights) < 3 * 900


def test_the_first_screen_holds_verdict_chart_factors_and_checks(
    browser: Browser, pages: Path
) -> None:
    browser.open(pages / "single.html", width=1280)
    for part in (".verdict .sentence", ".evidence .wide svg", ".factors", ".checks summary"):
        bottom = browser.run(
            "return document.querySelector(arguments[0]).getBoundingClientRect().bottom", part
        )
        assert 0 < bottom < 800, part


def test_light_and_dark_differ(browser: Browser, pages: Path) -> None:
    colours = []
    for dark in (False, True):
        browser.open(pages / "single.html", width=1280, dark=dark)
        colours.append(
            browser.run("return getComputedStyle(document.documentElement).backgroundColor")
        )
    light, dark_one = (sum(map(int, re.findall(r"\d+", c)[:3])) for c in colours)
    assert light > 600 and dark_one < 150


# Labels of charts that begin left of the page or lie over one another; words of tables in parts.
ILLEGIBLE = """
const found = [];
const gone = e => e.closest('thead') && getComputedStyle(e.closest('thead')).clipPath !== 'none';
for (const svg of document.querySelectorAll('svg')) {
  if (gone(svg)) continue;
  const boxes = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect());
  const shown = boxes.filter(b => b.width > 0);
  if (shown.some(b => b.left < -0.5)) found.push('left of the page: ' + svg.textContent);
  for (const [i, a] of shown.entries()) for (const b of shown.slice(i + 1)) {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1 && high > 1) found.push('over one another: ' + svg.textContent);
  }
}
const cells = 'thead th, td.n, .status, .option, .facts-table:not(.listed) td';
for (const cell of document.querySelectorAll(cells)) {
  if (gone(cell)) continue;
  const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) for (const word of walker.currentNode.data.matchAll(/\\S+/g)) {
    if (word[0].length > 30) continue;
    const range = document.createRange();
    range.setStart(walker.currentNode, word.index);
    range.setEnd(walker.currentNode, word.index + word[0].length);
    const lines = new Set([...range.getClientRects()].map(r => Math.round(r.top)));
    if (lines.size > 1) found.push('in parts: ' + word[0]);
  }
}
return found.slice(0, 5);
"""


@pytest.mark.parametrize("name", ["single", "several", "twin", "replay", "better", "assumed"])
def test_printed_labels_and_words_are_whole(browser: Browser, pages: Path, name: str) -> None:
    browser.open(pages / f"{name}.html", width=1280)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.command("Emulation.setEmulatedMedia", media="print")
    browser.command("Emulation.setDeviceMetricsOverride", width=673, height=1000,
                    deviceScaleFactor=1, mobile=False)  # fmt: skip
    assert browser.run(ILLEGIBLE) == []


@pytest.mark.parametrize("name", ["single", "several", "twin", "replay", "better", "assumed"])
def test_labels_on_a_phone_are_whole_and_large_enough(
    browser: Browser, pages: Path, name: str
) -> None:
    browser.open(pages / f"{name}.html", width=380)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run(ILLEGIBLE) == []
    smallest = browser.run("""
    const shown = [...document.querySelectorAll('svg text')].filter(
      t => t.getClientRects().length && !t.closest('thead'));
    const size = t => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a;
    return Math.min(...shown.map(size));
    """)
    assert smallest > 9.5


def test_headings_stand_apart_from_what_is_above(browser: Browser, pages: Path) -> None:
    browser.open(pages / "replay.html", width=1280)
    gaps = browser.run("""
    return [...document.querySelectorAll('section > h3:not(:first-child)')].map(h =>
      h.getBoundingClientRect().top - h.previousElementSibling.getBoundingClientRect().bottom);
    """)
    assert len(gaps) >= 3 and min(gaps) >= 20


def test_a_bar_on_a_phone_has_its_scale_below(browser: Browser, pages: Path) -> None:
    script = """
    const cell = document.querySelector('#main .stacks td.axis');
    const [bar, scale] = [...cell.querySelectorAll('svg')].map(s => s.getBoundingClientRect());
    return [scale.height > 0, scale.top >= bar.bottom - 1, bar.width > 0.9 * cell.clientWidth];
    """
    browser.open(pages / "single.html", width=380)
    assert browser.run(script) == [True, True, True]
    browser.open(pages / "single.html", width=1280)
    assert browser.run(script)[0] is False


@pytest.mark.parametrize("name", ["several", "twin", "replay", "better", "guardrail-broken"])
def test_the_verdict_is_on_the_first_sheet(browser: Browser, pages: Path, name: str) -> None:
    browser.open(pages / f"{name}.html", width=1280)
    browser.command("Emulation.setEmulatedMedia", media="print")
    browser.command("Emulation.setDeviceMetricsOverride", width=673, height=1000,
                    deviceScaleFactor=1, mobile=False)  # fmt: skip
    bottom = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
    part = ".overview" if name == "several" else ".verdict"
    assert 0 < browser.run(bottom, part) < 1000


def test_it_prints(browser: Browser, pages: Path) -> None:
    browser.open(pages / "hostile.html", width=1280)
    printed = base64.b64decode(browser.command("Page.printToPDF", paperWidth=8.27,
                                               paperHeight=11.69)["data"])  # fmt: skip
    assert printed.startswith(b"%PDF-")
    # At the width of the paper less its margins, nothing is cut on the right.
    browser.command("Emulation.setEmulatedMedia", media="print")
    browser.command("Emulation.setDeviceMetricsOverride", width=673, height=1000,
                    deviceScaleFactor=1, mobile=False)  # fmt: skip
    assert browser.run(BESIDE) == []


def test_paper_shows_what_is_folded_but_not_hundreds_of_parameters(
    browser: Browser, pages: Path
) -> None:
    browser.open(pages / "better.html", width=1280)
    browser.command("Emulation.setEmulatedMedia", media="print")
    shown = """return [...document.querySelectorAll("details")].map(d =>
        [d.classList.contains("appendix"), d.lastElementChild.checkVisibility()])"""
    found = {(appendix, visible) for appendix, visible in browser.run(shown)}
    assert found == {(True, False), (False, True)}


@pytest.mark.skipif(driver.axe_source() is None, reason="no axe-core here: npm install axe-core")
@pytest.mark.parametrize(
    ("name", "dark"),
    [("single", False), ("single", True), ("several", True), ("twin", False), ("hostile", False),
     ("compared", True)],
)  # fmt: skip
def test_axe_finds_no_violation(browser: Browser, pages: Path, name: str, dark: bool) -> None:
    browser.open(pages / f"{name}.html", width=1280, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    browser.run(driver.axe_source() or "")
    found = browser.run_async(
        "const done = arguments[arguments.length - 1];"
        "axe.run().then(r => done(r.violations.map(v => v.id + ': ' + v.nodes[0].html)));"
    )
    assert found == []
