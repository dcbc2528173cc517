"""The page for the statistician describes the analysis that was made."""

from __future__ import annotations

import dataclasses
import html
import re

from abtest.results.metrics import platform_metrics
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan
from reports.render.html import render_html
from tests.reports.conftest import make_outcomes

PLAN = AnalysisPlan(metrics=platform_metrics(), secondary=("likes", "play_time"))


def described(term: str, plan: AnalysisPlan = PLAN, treatments: int = 1) -> str:
    """What the page says about one term."""
    names = ["a", "b", "c"][: treatments + 1]
    frame = make_outcomes(1, dict.fromkeys(names, 1.0), users=200)
    page = render_html(analyze(frame, plan, control="a", treatments=names[1:]))
    found = re.search(rf"<dt>{term}</dt>\s*<dd>(.*?)</dd>", page, re.DOTALL)
    assert found is not None
    text = html.unescape(re.sub(r"<[^>]+>", "", found.group(1)))
    return " ".join(text.split())


def test_the_corrections_are_those_of_the_plan() -> None:
    text = described("Corrections")
    assert text.startswith("Primary metric: uncorrected. Secondary metrics: Holm, 2 metrics. ")
    assert "Holm's step-down" in text and "Benjamini" not in text
    several = described("Corrections", treatments=2)
    assert several.startswith("Primary metric: Holm, 2 treatments. Secondary metrics: Holm, 2 ")
    bh = dataclasses.replace(PLAN, correction="bh")
    text = described("Corrections", bh, treatments=2)
    assert text.startswith("Primary metric: Benjamini-Hochberg, 2 treatments. ")
    assert "1 − α R / m" in text
    none = described("Corrections", dataclasses.replace(PLAN, correct="none"), treatments=2)
    assert "Secondary metrics: uncorrected." in none
    lonely = described("Corrections", dataclasses.replace(PLAN, secondary=()))
    assert "Secondary metrics" not in lonely


def test_holms_method_is_described_where_something_is_corrected_by_it() -> None:
    frame = make_outcomes(2, {"a": 1.0, "b": 1.0}, users=200).drop("segment_activity")
    plan = dataclasses.replace(PLAN, correct="none")
    page = render_html(analyze(frame, plan, control="a", treatments=["b"]))
    assert "Segments: Holm" not in page and "step-down" not in page
    assert "Segments: Holm" in described("Corrections", plan)


def test_the_detectable_effect_is_that_of_the_corrected_test() -> None:
    text = described("Detectable effect")
    assert "before correction" not in text
    assert "divided by the number of comparisons" in text


def test_the_score_test_is_named_where_it_was_used() -> None:
    frame = make_outcomes(3, {"a": 1.0, "b": 1.0}, users=200)
    rare = frame.with_columns(
        ((frame["user_id"] % 40 == 0) & (frame["day"] == 0)).cast(float).alias("likes")
    ).filter(frame["day"] == 0)
    page = render_html(analyze(rare, PLAN, control="a", treatments=["b"]))
    assert "score test" in page
    assert "score test" not in described("Test")
