from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import formats
from reports.results import Estimate

anything = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.032, "+3.2 %"), (-0.0004, "-0.040 %"), (0.0, "0.0 %"), (12.5, "+1,250 %"), (None, "n/a")],
)
def test_percent(value: float | None, text: str) -> None:
    assert formats.percent(value) == text


def test_lift_and_interval_have_the_same_decimals() -> None:
    estimate = Estimate(0.00041, -0.021, 0.022)
    assert formats.lift(estimate) == "0.0 %"
    assert formats.interval(estimate) == "-2.1 to +2.2 %"


@pytest.mark.parametrize(
    ("level", "text"), [(0.95, "95 %"), (0.99375, "99.4 %"), (0.9, "90 %"), (1.0, "over 99.99 %")]
)
def test_confidence(level: float, text: str) -> None:
    assert formats.confidence(level) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "p < 0.001"), (0.0123, "p = 0.012"), (0.5, "p = 0.50"), (1.0, "p > 0.99")],
)
def test_p_in_a_sentence(p: float, text: str) -> None:
    assert formats.p_equals(p) == text


def test_an_absolute_lift_has_the_decimals_of_its_interval() -> None:
    estimate = Estimate(0.007424, -0.03426, 0.0491)
    assert formats.difference(estimate, "s per user-day") == "+0.0074 s"
    assert formats.absolute_interval(estimate, "%") == "-0.0343 to +0.0491 points"
    # A difference of shares of impressions is in points too: beside -33.9 %, "-13.3 %" misleads.
    assert formats.difference(estimate, "% of impressions").endswith(" points")


def test_a_difference_of_zero_has_no_sign() -> None:
    assert formats.difference(Estimate(-0.001, -2.4, 2.4), "per user-day") == "0.00"
    assert formats.number(-0.0004, signed=True, decimals=2) == formats.number(0.0, decimals=2)


def test_trimmed_loses_no_digits() -> None:
    assert [formats.trimmed(v) for v in (0.4, 0.0001, 3000.0, 1.25)] == [
        "0.4",
        "0.0001",
        "3,000",
        "1.25",
    ]


@given(anything, anything, anything)
def test_no_number_is_ever_nan(a: float | None, b: float | None, c: float | None) -> None:
    estimate = Estimate(math.nan if a is None else a, b, c)
    texts = [
        formats.number(a),
        formats.number(a, signed=True),
        formats.percent(b),
        formats.p_value(c),
        formats.lift(estimate),
        formats.interval(estimate),
        formats.difference(estimate, "s per user-day"),
        formats.absolute_interval(estimate, "%"),
        *formats.numbers([a, b, c]),
    ]
    assert not any("nan" in text or "inf" in text for text in texts)


@given(st.floats(min_value=1e-5, max_value=1e12))
def test_numbers_keep_three_significant_digits(value: float) -> None:
    shown = float(formats.number(value).replace(",", ""))
    assert abs(shown - value) <= 0.0051 * value


@given(st.text())
def test_plain_text_cannot_steer_a_terminal(text: str) -> None:
    clean = formats.plain(text)
    assert "\x1b" not in clean and "\n" not in clean and "\u202e" not in clean
    assert formats.encodable(clean, "ascii").isascii()
