"""Numbers, shares and differences as they are written, text by text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports import formats
from reports.results import Estimate
from tests.reports.verdict.test_decision import row

METRIC = replace(
    row("time", "better", Estimate(0.05, 0.02, 0.08), margin=0.02, detectable=0.031),
    unit="per user",
    absolute=Estimate(1.5, 0.5, 2.5),
    detectable_difference=1.25,
)
ABSOLUTE = replace(METRIC, scale="absolute", relative=None, margin_scale="absolute")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (formats.counted(1, "user"), "1 user"),
        (formats.counted(2, "user"), "2 users"),
        (formats.counted(0, "user"), "0 users"),
        (formats.counted(2_048, "user"), "2,048 users"),
        (formats.whole(12.0), "12"),
        (formats.whole(12.25), "12.25"),
        (formats.whole(-3.0), "-3"),
        (formats.whole(12_345.678), "12,346"),
        (formats.visible("a\x1bb\u2028c\u2029"), r"a\x1bb\u2028c\u2029"),
        (formats.visible("a\nb", kept="\n"), "a\nb"),
        (formats.plain("a\x1bb\u2029"), "a\ufffdb\ufffd"),
        (formats.shortened("abcdefghijklmnop", 10), "abcdef…nop"),
        (formats.shortened("abcdefghij", 10), "abcdefghij"),
        (formats.effect(METRIC.relative, "relative", "s"), "+5.0 %"),
        (formats.effect(METRIC.absolute, "absolute", "per user"), "+1.50 per user"),
        (formats.effect_interval(METRIC.relative, "relative", "s"), "+2.0 to +8.0 %"),
        (formats.effect_interval(METRIC.absolute, "absolute", "per s"), "+0.50 to +2.50 per s"),
        (formats.effect_interval(METRIC.absolute, "absolute", "s"), "+0.50 to +2.50 s"),
        (formats.effect_interval(METRIC.absolute, "absolute", "%"), "+0.50 to +2.50 points"),
        (formats.shown_effect(METRIC), "+5.0 %"),
        (formats.shown_effect(ABSOLUTE), "+1.50 per user"),
        (formats.shown_interval(METRIC), "+2.0 to +8.0 %"),
        (formats.shown_interval(ABSOLUTE), "+0.50 to +2.50 per user"),
        (formats.difference(METRIC.absolute, "per user"), "+1.50"),
        (formats.difference(METRIC.absolute, "s per user-day", alone=True), "+1.50 s"),
        (formats.amount(0.5, "s"), "0.5 s"),
        (formats.amount(2.0, "%"), "2 points"),
        (formats.margin(METRIC), "2 %"),
        (formats.margin(replace(ABSOLUTE, margin=0.5, unit="EUR per user")), "0.5 EUR"),
        (formats.detectable_size(METRIC), "3.1 %"),
        (formats.detectable_size(ABSOLUTE), "1.250 per user"),
        (formats.p_equals(0.0002), "p < 0.001"),
        (formats.p_equals(0.999), "p > 0.99"),
        (formats.p_equals(0.04), "p = 0.040"),
        (formats.p_equals(None), "p n/a"),
        (formats.p_exact(None), "p n/a"),
        (formats.p_exact(float("nan")), "p n/a"),
        (formats.p_exact(0.002), "p = 0.002"),
        (formats.p_exact(0.00024), "p = 2e-04"),
        (formats.p_exact(1e-300), "p = 1e-300"),
        (formats.p_exact(0.0), "p < 1e-300"),
        (formats.confidence(0.95), "95 %"),
        (formats.confidence(0.975), "97.5 %"),
        (formats.confidence(0.999999), "99.9999 %"),
        (formats.confidence(1.0 - 1e-9), "over 99.99 %"),
        (formats.percent(0.0009), "+0.090 %"),
        (formats.percent(0.001), "+0.1 %"),
        (formats.percent(1e-9), "+1.0e-07 %"),
        (formats.percent(-3e7), "-3.0e+09 %"),
    ],
)
def test_a_text(text: str, expected: str) -> None:
    assert text == expected


def test_one_axis_takes_differences_where_one_of_the_comparisons_has_no_lift() -> None:
    assert formats.common_scale([METRIC, METRIC]) == "relative"
    assert formats.common_scale([METRIC, ABSOLUTE]) == "absolute"
    assert METRIC.on("absolute") == METRIC.absolute
    assert METRIC.on("relative") == METRIC.relative
