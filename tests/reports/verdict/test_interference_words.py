"""What the report says of an online test that is held against its own truth, word by word."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from reports.interference_parts import Interference, MetricBias
from reports.results import Estimate
from reports.verdict.words import interference
from tests.reports.verdict.test_words import TIME, VERDICT, compared, result

BIAS = MetricBias(
    "b", "time", "Time", "primary", Estimate(0.06, 0.01, 0.11), Estimate(0.05, 0.04, 0.06),
    Estimate(0.03, 0.02, 0.04), Estimate(0.02, 0.01, 0.03), Estimate(-0.01, -0.02, 0.0),
    Estimate(0.005, 0.0, 0.01),
)  # fmt: skip
GUARD = dataclasses.replace(BIAS, metric="hates", label="Hates", role="guardrail", test=None)
OTHER = dataclasses.replace(BIAS, treatment="c")
LEAD = (
    "An online A/B test of this change reports +5.0 % on average; replacing the ranker for "
    "everyone gives +3.0 % (+2.0 to +4.0 %)"
)


def record(*biases: MetricBias, **strengths: float) -> Interference:
    return Interference(strengths, 12.25, 4_096, 3, 0.95, biases)


def said(found: Interference | None, **verdict: Any) -> str:
    judged = dataclasses.replace(compared(TIME), verdict=dataclasses.replace(VERDICT, **verdict))
    return interference.bias(result(judged, interference=found), judged)


@pytest.mark.parametrize(
    ("strengths", "what"),
    [
        ({"comment_likes": 1.0}, "the likes of comments"),
        ({"supply": 0.5}, "what creators publish"),
        ({"comment_likes": 1.0, "supply": 0.5}, "the likes of comments and what creators publish"),
        ({"comment_likes": 0.0, "supply": 0.0}, "a platform"),
    ],
)
def test_a_bias_is_said_with_what_the_arms_share(strengths: dict[str, float], what: str) -> None:
    assert said(record(OTHER, GUARD, BIAS, **strengths)) == (
        f"{LEAD}. The test is biased by +2.00 points (+1.00 to +3.00 points), because both arms "
        f"share {what}: that moves the control by -1.0 % and the treatment by +0.5 %."
    )


@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.03), (0.0, 0.03), (-0.03, 0.0)])
def test_a_bias_whose_interval_includes_zero_is_not_seen(low: float, high: float) -> None:
    found = said(record(dataclasses.replace(BIAS, bias=Estimate(0.02, low, high))))
    assert found.startswith(f"{LEAD}. No bias of the test is seen: +2.00 points (")


@pytest.mark.parametrize(("low", "high"), [(None, 0.03), (0.01, None)])
def test_a_bias_without_an_interval_is_not_judged(low: float | None, high: float | None) -> None:
    assert said(record(dataclasses.replace(BIAS, bias=Estimate(0.02, low, high)))) == f"{LEAD}."


def test_nothing_is_said_where_nothing_is_known_or_the_test_failed() -> None:
    assert said(None) == said(record(OTHER, GUARD)) == ""
    for cause in ("check failed", "same policy", "no data"):
        assert said(record(BIAS), cause=cause) == ""
    assert said(record(BIAS), cause="not settled") != ""


def test_the_table_has_a_row_per_metric_of_the_treatment() -> None:
    rows = interference.bias_rows(record(OTHER, BIAS, GUARD), compared(TIME))
    assert [dataclasses.astuple(row) for row in rows] == [
        ("Time", "+6.0 %", "+5.0 % (+4.0 to +6.0 %)", "+3.0 % (+2.0 to +4.0 %)",
         "+2.00 points (+1.00 to +3.00 points)", "-1.0 %", "+0.5 %"),
        ("Hates", "n/a", "+5.0 % (+4.0 to +6.0 %)", "+3.0 % (+2.0 to +4.0 %)",
         "+2.00 points (+1.00 to +3.00 points)", "-1.0 %", "+0.5 %"),
    ]  # fmt: skip
    assert len(interference.BIAS_HEADER) == len(dataclasses.astuple(rows[0]))


def test_how_the_truth_was_found() -> None:
    many = interference.how_biased(record(BIAS, supply=0.5, comment_likes=1.0))
    assert many.startswith(
        "Interference: comment_likes 1, supply 0.5. 4,096 people in 3 groups; the people of a "
        "group share a platform, and each stands for 12.2. Online, both arms are on it."
    )
    assert "95 % intervals, uncorrected" in many
    one = interference.how_biased(dataclasses.replace(record(BIAS), groups=1, confidence=0.9))
    assert "4,096 people in one group;" in one and "90 % intervals" in one
