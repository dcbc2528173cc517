"""What a report shows of other assumptions: charts, tables and the same words everywhere."""

from __future__ import annotations

import dataclasses
import re

import pytest

from reports.render import charts
from reports.render.html import render_html
from reports.render.markdown import render_markdown
from reports.render.terminal import render
from reports.results import AssumptionGrid, ExperimentResult, Sensitivity
from tests.reports.render.test_html import ATTACK, Page
from tests.reports.verdict.test_ranges import ARM, BETTER, OPEN, WORSE, assumed, grid

TASTE = grid({0.2: WORSE, 0.5: OPEN, 1.0: BETTER, 2.0: (0.09, 0.02)})
ORDER = grid(
    {0.4: (0.01, 0.005), 1.0: BETTER}, parameter="o", label="share of visits in order",
    in_log=False,
)  # fmt: skip


def record_of(result: ExperimentResult) -> Sensitivity:
    assert result.assumptions is not None
    return result.assumptions


def line_chart(result: ExperimentResult, shown: AssumptionGrid) -> str:
    record = record_of(assumed(result, shown))
    domain = charts.assumption_domain(record, ARM)
    return str(charts.assumption_chart(record, shown, ARM, domain, "c"))


def numbers(pattern: str, text: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, found.groups())) for found in re.finditer(pattern, text)]


def test_the_line_chart_puts_values_and_intervals_where_they_are(result: ExperimentResult) -> None:
    chart = line_chart(result, TASTE)
    (series,) = re.findall(r'class="series treatment" d="([^"]+)"', chart)
    points = numbers(r"[ML]([\d.]+) ([\d.]+)", series)
    # 0.2 to 2 is a factor of ten: equal ratios are equally far apart.
    x = [p[0] for p in points]
    assert (x[2] - x[1]) == pytest.approx(x[3] - x[2], abs=0.11)
    assert x[1] - x[0] == pytest.approx((x[2] - x[1]) * 1.3219, abs=0.2)
    # Heights are proportional to lifts: -3, 0.5, 4 and 9 %, the last not drawn outside the axis.
    y = [p[1] for p in points]
    assert (y[0] - y[1]) / (y[1] - y[2]) == pytest.approx(1.0, abs=0.01)
    assert y[3] < y[2] < y[1] < y[0]
    bars = numbers(r'class="ci [\w-]+" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"',
                   chart)  # fmt: skip
    upright = [bar for bar in bars if bar[0] == bar[2]]
    assert [bar[0] for bar in upright] == x
    for bar, height in zip(upright, y, strict=True):
        assert bar[1] > height > bar[3]
    assert re.findall(r'class="mark ([\w-]+)"', chart) == ["worse", "not-clear", "better", "better"]
    base = re.search(r'class="base" x1="([\d.]+)"', chart)
    assert base is not None and float(base[1]) == x[2]
    for label in ("0.2", "0.5", "1", "2", "strength of comment taste", "this world"):
        assert f">{label}</text>" in chart
    assert "At 0.5: +0.5 %, interval -0.5 to +1.5 %, not clear." in chart


def test_values_of_one_size_stand_on_a_linear_axis(result: ExperimentResult) -> None:
    chart = line_chart(result, grid({0.0: OPEN, 0.5: OPEN, 1.0: BETTER}))
    (series,) = re.findall(r'class="series treatment" d="([^"]+)"', chart)
    x = [p[0] for p in numbers(r"[ML]([\d.]+) ([\d.]+)", series)]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.11)


def test_a_tornado_bar_spans_the_lifts_and_the_longest_is_first(result: ExperimentResult) -> None:
    shown = assumed(result, ORDER, TASTE)
    record = record_of(shown)
    domain = charts.assumption_domain(record, ARM)
    row = str(charts.tornado_row(record, ORDER, ARM, domain, "t"))
    (span,) = re.findall(r'class="span" d="([^"]+)"', row)
    edges = sorted({p[0] for p in numbers(r"[ML]([\d.]+) ([\d.]+)", span)})
    (own,) = numbers(r'class="base" x1="([\d.]+)"', row)
    (zero,) = numbers(r'class="zero" x1="([\d.]+)"', row)
    # From +1 % at 0.4 to +4 % in this world.
    assert edges[1] == own[0]
    assert (edges[0] - zero[0]) / (edges[1] - zero[0]) == pytest.approx(0.25, abs=0.01)
    assert "+1.0 % at 0.4 (better), +4.0 % at 1 (better)" in row
    page = Page(render_html(shown))
    text = page.text()
    tornado = text.index("longest first")
    assert text.index("strength of comment taste", tornado) < text.index(
        "share of visits in order", tornado
    )


def test_the_page_has_a_line_for_one_assumption_and_a_tornado_for_several(
    result: ExperimentResult,
) -> None:
    one = render_html(assumed(result, ORDER))
    assert "Under other assumptions" in one and "longest first" not in one
    assert "Comment watch time of lsvcr, by share of visits in order" in one
    several = render_html(assumed(result, ORDER, TASTE))
    assert "longest first" in several
    # Two values make no line worth drawing beside a tornado; four do.
    assert "of lsvcr, by share of visits in order" not in several
    assert "Comment watch time of lsvcr, by strength of comment taste" in several
    assert "Under other assumptions" not in render_html(result)
    identities = re.findall(r' id="([^"]+)"', several)
    assert len(identities) == len(set(identities))


def test_all_formats_say_the_same(result: ExperimentResult) -> None:
    shown = assumed(result, TASTE)
    terminal = render(shown, width=100, encoding="ascii", color=False)
    plain = " ".join(terminal.split())
    markdown = render_markdown(shown)
    page = " ".join(Page(render_html(shown)).text().split())
    sentence = "Depends on the strength of comment taste: better from 1 to 2, worse at 0.2"
    for text in (plain, markdown, page):
        assert sentence in text
        assert "In every assumed world the same 4,096 people live 1 day through every arm" in text
    assert re.search(r"0\.2 +100\.2 s +-3\.0 % +-4\.0 to -2\.0 % +worse", terminal)
    assert re.search(r"1 \(this world\) +101\.0 s +\+4\.0 % +\+3\.0 to \+5\.0 % +better", terminal)
    row = next(line for line in markdown.splitlines() if "| 0.5 |" in line)
    assert row.startswith("| strength of comment taste | 0.5 | 100.5 s |") and "not clear" in row
    assert sentence not in render(result, width=100, encoding="ascii", color=False)
    narrow = render(shown, width=40, encoding="ascii", color=False)
    assert max(map(len, narrow.splitlines())) <= 40
    assert "0.2: -3.0 % (-4.0 to -2.0 %), worse" in " ".join(narrow.split())


def test_effects_without_a_relative_lift_are_shown_in_their_unit(result: ExperimentResult) -> None:
    shown = assumed(result, grid({0.5: (2.0, 1.0), 1.0: (3.0, 1.0)}))
    record = dataclasses.replace(record_of(shown), scale="absolute")
    shown = dataclasses.replace(shown, assumptions=record)
    text = render(shown, width=100, encoding="ascii", color=False)
    assert re.search(r"0\.5 +100\.5 s +\+2\.00 s +\+1\.00 to \+3\.00 s +better", text)
    domain = charts.assumption_domain(record, ARM)
    chart = str(charts.assumption_chart(record, record.grids[0], ARM, domain, "c"))
    assert "At 0.5: +2.00 s, interval +1.00 to +3.00 s, better." in chart
    assert " %</text>" not in chart


def test_foreign_names_are_escaped(result: ExperimentResult) -> None:
    odd = dataclasses.replace(TASTE, label=ATTACK, reason=ATTACK)
    text = render_html(assumed(result, odd, ORDER))
    Page(text)
    assert "<script>" not in text
