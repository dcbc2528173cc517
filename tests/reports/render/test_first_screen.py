"""What a reader meets first: verdict, why, trade-offs, checks; and what is left out."""

from __future__ import annotations

import dataclasses
import itertools
import re

import pytest

from reports import formats
from reports.render.charts import factor_bars, lift_chart, row_axis
from reports.render.html import render_html
from reports.render.svg import Domain, Scale, error_bar, lift_domain, tick_percent
from reports.render.terminal import render
from reports.results import (
    ArmComparison,
    Estimate,
    ExperimentResult,
    HealthCheck,
    MetricComparison,
    SegmentLift,
)
from reports.verdict import words
from tests.reports.conftest import make_result
from tests.reports.render.test_html import Page


def body(result: ExperimentResult) -> str:
    html = re.sub(r"base64,[\w+/=]+", "", render_html(result))
    return Page(html).text("main")


def shown(text: str) -> str:
    """As `body` has it: typographic signs, and breaking spaces."""
    return formats.typographic(text).replace("\u00a0", " ")


def with_metrics(result: ExperimentResult, **changes: tuple[str, float]) -> ExperimentResult:
    """Some secondary metrics with another outcome and lift."""
    first = result.comparisons[0]
    metrics = tuple(
        dataclasses.replace(
            m,
            outcome=changes[m.metric][0],
            relative=Estimate(changes[m.metric][1], None, None),
        )
        if m.metric in changes
        else m
        for m in first.metrics
    )
    changed = dataclasses.replace(first, metrics=metrics)
    return dataclasses.replace(result, comparisons=(changed,))


def test_trade_offs_are_named_largest_first_and_factors_are_not(result: ExperimentResult) -> None:
    mixed = with_metrics(
        result,
        likes=("better", 0.09),
        click_rate=("better", 0.2),
        comment_interactions=("worse", -0.25),
        stay_per_open=("better", 0.3),
    )
    said = words.trade_offs(mixed.comparisons[0])
    assert said == (
        "Also better: click rate +20.0 %, likes +9.0 %; worse: comment likes and replies -25.0 %."
    )
    assert shown(said) in body(mixed)
    quiet = with_metrics(result)
    metrics = tuple(
        dataclasses.replace(m, outcome="not clear") for m in quiet.comparisons[0].metrics
    )
    assert words.trade_offs(dataclasses.replace(quiet.comparisons[0], metrics=metrics)) == ""


def test_checks_are_one_line_that_names_what_failed_or_warned() -> None:
    chips = [
        words.Chip("Traffic split", "pass", ""),
        words.Chip("Users", "pass", ""),
        words.Chip("Outliers", "warn", ""),
        words.Chip("Power", "note", ""),
    ]
    assert words.checks_line(chips) == "1 warning (Outliers), 2 passed, 1 note"
    assert words.checks_line([words.Chip("A", "fail", ""), *chips[:1]]) == "1 failed (A), 1 passed"


def test_checks_open_by_themselves_only_where_one_needs_a_look(result: ExperimentResult) -> None:
    fine = dataclasses.replace(result, health=tuple(c for c in result.health if c.status == "pass"))
    warned = dataclasses.replace(
        fine, health=(*fine.health, HealthCheck("x", "X", "warn", "look here"))
    )
    assert '<details class="checks">' in render_html(fine)
    assert '<details class="checks" open>' in render_html(warned)


def test_the_minimum_effect_is_drawn_and_named(result: ExperimentResult) -> None:
    primary = result.comparisons[0].metrics[0]
    image = lift_chart(primary, "i", min_effect=0.05)
    assert 'class="minimum"' in image and "below the minimum effect of 5 %" in image
    assert 'class="minimum"' not in lift_chart(primary, "i")
    # The band reaches from -5 % to +5 % on the axis.
    corners = [float(x) for x in re.findall(r"[ML]([\d.]+)", image.split('class="minimum"')[1])]
    zero = float(re.findall(r'class="zero" x1="([\d.]+)"', image)[0])
    assert zero - min(corners) == pytest.approx(max(corners[:4]) - zero, abs=0.2)


def test_axes_label_zero_and_both_ends() -> None:
    for low, high in ((-0.013, 0.041), (-0.2, 0.003), (0.0, 0.07), (-0.5, 0.5)):
        domain = lift_domain([Estimate((low + high) / 2, low, high)])
        assert domain.low <= min(low, 0.0) and domain.high >= max(high, 0.0)
        ticks = domain.ticks()
        assert ticks[0] == domain.low and ticks[-1] == pytest.approx(domain.high)
        assert any(abs(t) < 1e-12 for t in ticks)
        image = row_axis(domain, "axis", 320)
        for tick in (domain.low, 0.0, domain.high):
            text = "0" if abs(tick) < 1e-12 else formats.typographic(f"{100 * tick:+.4g} %")
            assert f">{text}<" in image, (low, high, text)


def test_a_value_beyond_the_axis_is_one_arrow_head_at_its_end() -> None:
    scale = Scale(-0.1, 0.2, 10.0, 210.0)
    head, line = error_bar(scale, 15.0, Estimate(0.5, 0.4, 0.6), "better", 4.5)
    assert "M201.0 10.5 L210.0 15.0 L201.0 19.5 Z" in head and "mark better" in head
    assert line.startswith("<line")
    head, line, left = error_bar(scale, 15.0, Estimate(0.5, -0.4, 0.6), "not clear", 4.5)
    assert "210.0 15.0" in head and "M14.5 10.5 L10.0 15.0" in left
    head, line, cap = error_bar(scale, 15.0, Estimate(-0.5, -0.6, 0.1), "not clear", 4.5)
    assert "L10.0 15.0" in head and 'x1="143.3"' in cap and cap.startswith("<line")


def test_an_interval_narrower_than_its_mark_is_still_seen() -> None:
    scale = Scale(-1.0, 1.0, 0.0, 200.0)
    mark, line, *caps = error_bar(scale, 15.0, Estimate(0.1, 0.099, 0.101), "better", 4.5)
    assert "mark" in mark and "ci" in line
    for cap in caps:
        top, bottom = (float(v) for v in re.findall(r'y[12]="([\d.]+)"', cap))
        assert bottom - top > 2 * 4.5


def test_factor_bars_go_on_where_the_one_before_ended(result: ExperimentResult) -> None:
    split = result.comparisons[0].factors
    assert split is not None
    bars = factor_bars(split.factors, "f")
    assert len(bars) == len(split.factors) + 1
    edges = [float(re.findall(r'class="edge" x1="([\d.]+)"', bar)[0]) for bar in bars]
    zero = float(re.findall(r'class="zero" x1="([\d.]+)"', bars[0])[0])
    assert edges[-1] == edges[-2]
    spans = [re.findall(r"[ML]([\d.]+)", bar) for bar in bars]
    starts = [zero, *edges[:-2]]
    for start, span in zip(starts, spans, strict=False):
        assert start in [pytest.approx(float(x), abs=0.11) for x in span]


def test_the_factors_are_in_the_report_and_in_the_terminal(result: ExperimentResult) -> None:
    split = result.comparisons[0].factors
    assert split is not None
    page, text = body(result), render(result, width=80, encoding="ascii", color=False)
    for factor, part in zip(split.factors, words.factor_parts(split), strict=False):
        assert factor.label in page and shown(part) in page
        assert re.search(rf"{factor.label} .*{re.escape(part)}", text)
    assert "mostly comment stay per open (" in page
    assert "Why: mostly comment stay per open" in " ".join(text.split())


def test_day_by_day_is_left_out_for_one_day(result: ExperimentResult) -> None:
    first = result.comparisons[0]
    one = dataclasses.replace(first, daily=first.daily[:1])
    short = dataclasses.replace(result, comparisons=(one,))
    assert "Day by day" not in Page(render_html(short)).text("h3")
    assert "Day by day" in Page(render_html(result)).text("h3")


def test_no_sentence_is_there_twice() -> None:
    broken = make_result(users=300)
    first = broken.comparisons[0]
    check = HealthCheck("srm", "", "fail", code="split broken",
                        facts={"users": [300, 600], "planned": [0.5, 0.5], "p": 3e-24})  # fmt: skip
    verdict = dataclasses.replace(first.verdict, state="no verdict", decision="no verdict",
                                  finding="check failed", cause="check failed",
                                  checks=("srm",))  # fmt: skip
    broken = dataclasses.replace(
        broken, comparisons=(dataclasses.replace(first, verdict=verdict),), health=(check,)
    )
    said = words.sentence(broken, broken.comparisons[0])
    assert said == ("No verdict: traffic split is broken: 300 vs 600, planned equal (p = 3e-24).")
    decided = words.decision(broken, broken.comparisons[0])
    assert decided.startswith("Decision: none before the cause is found")
    assert "no verdict" not in decided.lower() and "Traffic split" in decided
    for result in (broken, make_result(users=300), make_result(users=200, design="twin")):
        page = body(result)
        sentences = [s.strip() for s in re.split(r"(?<=[a-z)])\. ", page) if len(s) > 60]
        repeated = {s for s in sentences if sentences.count(s) > 1}
        assert not repeated


@pytest.mark.parametrize("design", ["online", "twin"])
def test_twin_runs_speak_of_pairs(design: str) -> None:
    result = make_result(users=200, design=design)
    page, text = body(result), render(result, width=80, encoding="ascii", color=False)
    assert ("200 pairs" in page) == ("200 pairs" in text) == (design == "twin")
    assert ("200 users" in page) == ("200 users" in text) == (design == "online")


def test_no_p_value_is_zero_and_no_family_has_one_metrics() -> None:
    for p in (0.0, 1e-320, 1e-12, 4e-4):
        for text in (formats.p_value(p), formats.p_equals(p), formats.p_exact(p)):
            assert not re.search(r"\b0(\.0+)?(e[+-]?0+)?$", text), (p, text)
    assert formats.p_exact(6.2e-9) == "p = 6e-09" and formats.p_exact(0.0) == "p < 1e-300"
    assert "1 metrics" not in body(make_result(users=200))


def levels(*names: str) -> ArmComparison:
    first = make_result(users=60).comparisons[0]
    segments = tuple(SegmentLift("s", name, 100, Estimate(0.0, -1.0, 1.0), 1.0) for name in names)
    return dataclasses.replace(first, segments=segments)


@pytest.mark.parametrize(
    "order",
    [
        ("0", "(0,10]", "(10,50]", "(50,100]", "(100,150]", "500+"),
        ("8-14", "15-30", "31-60", "366-730", "730+"),
        ("low_active", "middle_active", "high_active", "full_active", "other"),
        ("[1,10)", "[10,100)", "[100,1k)", "[1k,5k)", "[5k,1w)", "[1w,10w)", "unknown"),
        ("light", "heavy"),
        ("de", "fr", "us", "unknown"),
    ],
)
def test_segments_are_in_the_order_of_their_values(order: tuple[str, ...]) -> None:
    shuffled = sorted(order, key=lambda name: name[::-1])
    found = words.segment_order(levels(*shuffled))
    assert tuple(s.level for s in found) == order


@pytest.mark.parametrize(
    ("level", "text"),
    [
        ("(0,10]", "over 0 to 10"),
        ("[1,10)", "1 to under 10"),
        ("500+", "500 and more"),
        ("full_active", "full active"),
        ("0", "0"),
    ],
)
def test_levels_have_plain_labels(level: str, text: str) -> None:
    assert words.segment_level(level) == text


def test_values_are_raw_and_lifts_say_that_they_are_adjusted(result: ExperimentResult) -> None:
    primary = result.comparisons[0].metrics[0]
    page = body(result)
    control = formats.arm_values((primary.control, primary.treatment), primary.unit)[0]
    assert control in page and "Relative lift, adjusted" in page
    assert "600 users, " in page and "1,800 user-days" in page
    assert primary.control.total is not None
    assert f"{primary.control.total:,.0f} s / 1,800 user-days" in page


def metric_rows(page: Page) -> list[str]:
    return [a.get("data-label", "") for a in page.all("td")]


def test_every_cell_of_a_stacking_table_names_its_column(result: ExperimentResult) -> None:
    html = render_html(make_result(arms={"a": 1.0, "b": 1.1, "c": 0.8}, users=200))
    for table in re.findall(r'<table class="[^"]*stacks[^"]*">.*?</table>', html, flags=re.S):
        cells = re.findall(r"<td[^>]*>", table)
        assert cells and all("data-label=" in cell for cell in cells)


def test_long_names_are_shortened_from_the_middle() -> None:
    assert formats.shortened("abc", 10) == "abc"
    long = formats.shortened("a" * 30 + "z" * 30, 20)
    assert len(long) == 20 and long.startswith("aaa") and long.endswith("zzz") and "…" in long


def test_domains_without_any_width_can_be_drawn() -> None:
    for estimate in (Estimate(0.0, 0.0, 0.0), Estimate(0.0, None, None)):
        domain = lift_domain([estimate])
        assert domain.low < domain.high and isinstance(domain, Domain)


def metric_of(result: ExperimentResult, name: str) -> MetricComparison:
    return next(m for m in result.comparisons[0].metrics if m.metric == name)


def test_several_treatments_are_compared_before_any_of_them() -> None:
    result = make_result(arms={"a": 1.0, "b": 1.3, "c": 0.7}, users=300)
    html = render_html(result)
    overview = html[html.index('class="metrics stacks overview"') : html.index('id="c1"')]
    for comparison in result.comparisons:
        lift = formats.typographic(formats.lift(comparison.metrics[0].relative))
        assert comparison.treatment in overview and lift in overview
        assert comparison.verdict.state in overview
    assert overview.count('class="zero"') == 2
    text = render(result, width=80, encoding="ascii", color=False)
    assert text.index("  b ") < text.index("Checks:") < text.index("Primary metric")
    assert text.count("Checks:") == 1


def test_labels_between_zero_and_the_ends_are_evenly_spaced() -> None:
    """Where not all fit, every second stays: never +20 % and then +80 %."""
    for low, high in ((-0.07, 0.75), (-0.22, 0.9), (-0.75, 0.13), (-0.4, 2.1), (-0.3, 0.65)):
        for width in (220, 320, 440):
            domain = lift_domain([Estimate(low / 2 + high / 2, low, high)])
            image = row_axis(domain, "axis", width)
            shown = re.findall(r'class="tick" x="([\d.]+)"[^>]*>([^<]+)<', image)
            numbers = sorted(float(t.replace("−", "-").split("\u00a0")[0]) for _, t in shown)
            ends = (100 * domain.low, 100 * domain.high)
            inner = [n for n in numbers if n == 0.0 or min(abs(n - e) for e in ends) > 1e-6]
            gaps = {round(b - a, 6) for a, b in itertools.pairwise(inner)}
            assert len(gaps) < 2, (low, high, width, numbers)
            places = sorted((float(x), len(t)) for x, t in shown)
            for (a, m), (b, n) in itertools.pairwise(places):
                assert b - a >= 3.5 * (m + n), (low, high, width, shown)


def test_an_axis_reaches_every_value_that_does_not_flatten_the_others() -> None:
    small = [Estimate(0.01 * i, 0.01 * i - 0.02, 0.01 * i + 0.02) for i in range(-3, 4)]
    domain = lift_domain([*small, Estimate(0.19, 0.12, 0.26), Estimate(0.3, 0.09, 0.53)])
    assert domain.high >= 0.3


def test_an_axis_of_differences_has_a_unit(result: ExperimentResult) -> None:
    metric = dataclasses.replace(
        result.comparisons[0].metrics[0],
        scale="absolute", absolute=Estimate(1_293.0, -640.0, 6_510.0), unit="s per user-day",
    )  # fmt: skip
    ticks = re.findall(r'class="tick"[^>]*>([^<]+)<', lift_chart(metric, "i", width=440))
    assert len(ticks) > 2 and all(t.endswith((" s", "→")) or t[0] in "0←" for t in ticks)
    assert tick_percent(10.0) == "+1,000 %"
