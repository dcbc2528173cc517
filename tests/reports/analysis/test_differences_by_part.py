"""Days, segments and treatments of a metric without a lift are shown as differences."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import polars as pl
import pytest
from scipy import stats

from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.render.comparison_page import render_comparison_html
from reports.render.html import render_html
from reports.render.terminal import render
from reports.results import Estimate, ExperimentResult
from reports.verdict import words
from reports.verdict.words.segments import segment_outcome

LOSS = Metric("profit", "Profit", "EUR per user-day", ("profit",))
PLAN = AnalysisPlan(
    primary="profit", secondary=(), guardrails={}, min_effect=0.0, metrics={"profit": LOSS}
)
DAYS, USERS = 4, 300


def frame(seed: int, *, centre: float, arms: dict[str, float]) -> pl.DataFrame:
    """User-days; the gain of an arm grows with the day and is larger for heavy users."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, (arm, gain) in enumerate(arms.items()):
        heavy = np.arange(USERS) % 2 == 0
        for day in range(DAYS):
            profit = rng.normal(centre, 2.0, USERS) + gain * (1 + day) * (1.0 + heavy)
            frames.append(
                pl.DataFrame(
                    {
                        "user_id": np.arange(USERS) + number * USERS,
                        "arm": [arm] * USERS,
                        "day": np.full(USERS, day),
                        "profit": profit,
                        "segment_use": np.where(heavy, "heavy", "light").tolist(),
                    }
                )
            )
    return pl.concat(frames)


def analysed(table: pl.DataFrame, plan: AnalysisPlan = PLAN) -> ExperimentResult:
    others = [arm for arm in table["arm"].unique(maintain_order=True) if arm != "a"]
    return analyze(table, plan, control="a", treatments=others, simulated=False)


def values(table: pl.DataFrame, arm: str, *where: pl.Expr) -> np.ndarray:
    """Mean per user-day of every user."""
    own = table.filter(pl.col("arm") == arm, *where)
    return own.group_by("user_id").agg(pl.col("profit").mean()).sort("user_id")["profit"].to_numpy()


def check_welch(effect: Estimate | None, a: np.ndarray, b: np.ndarray, level: float) -> None:
    assert effect is not None
    test = stats.ttest_ind(b, a, equal_var=False)
    low, high = test.confidence_interval(level)
    assert effect.value == pytest.approx(b.mean() - a.mean(), rel=1e-9)
    assert effect.low == pytest.approx(low, rel=1e-9)
    assert effect.high == pytest.approx(high, rel=1e-9)


def test_a_smaller_loss_is_better_on_every_day_and_in_every_segment() -> None:
    table = frame(1, centre=-30.0, arms={"a": 0.0, "b": 0.5})
    result = analysed(table)
    (found,) = result.comparisons
    assert found.verdict.state == "better"
    for day in found.daily:
        check_welch(
            day.lift,
            *(values(table, arm, pl.col("day") == day.day) for arm in "ab"),
            0.95,
        )
        so_far = [values(table, arm, pl.col("day") <= day.day) for arm in "ab"]
        check_welch(day.cumulative, so_far[0], so_far[1], 0.95)
        assert day.always_valid is not None and day.cumulative is not None
        assert (day.always_valid.low or 0.0) < (day.cumulative.low or 0.0)
        assert (day.always_valid.high or 0.0) > (day.cumulative.high or 0.0)
    assert [segment.relative for segment in found.segments] == [None, None]
    for segment in found.segments:
        arms = [values(table, arm, pl.col("segment_use") == segment.level) for arm in "ab"]
        p = float(stats.ttest_ind(arms[1], arms[0], equal_var=False).pvalue)
        check_welch(segment.absolute, arms[0], arms[1], 1.0 - 0.05 * p / (segment.p_adjusted or 1))
        assert segment_outcome(segment, found.metrics[0]) == "better"


def test_a_smaller_loss_that_grows_has_a_rising_difference_and_an_interaction() -> None:
    table = frame(2, centre=-30.0, arms={"a": 0.0, "b": 0.5})
    (found,) = (result := analysed(table)).comparisons
    trend = found.novelty
    assert trend is not None
    daily = [
        values(table, "b", pl.col("day") == day) - values(table, "a", pl.col("day") == day)
        for day in range(DAYS)
    ]
    slopes = np.polyfit(np.arange(DAYS), np.array(daily), 1)[0]
    assert trend.slope.value == pytest.approx(slopes.mean(), rel=1e-9)
    said = words.novelty(found) or ""
    assert f"changes by {trend.slope.value:+.3f} EUR per day" in said
    assert "the difference rises" in said and "of the control" not in said
    (interaction,) = found.interactions
    effects, variances = [], []
    for segment in found.segments:
        a, b = (values(table, arm, pl.col("segment_use") == segment.level) for arm in "ab")
        effects.append(b.mean() - a.mean())
        variances.append(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
    assert interaction.statistic == pytest.approx(
        (effects[0] - effects[1]) ** 2 / sum(variances), rel=1e-9
    )
    shown = " ".join(render(result, width=110, encoding="ascii", color=False).split())
    assert "The effect differs between the levels of 'use'" in shown


def test_the_page_of_a_loss_has_no_lift_by_day_or_segment() -> None:
    page = render_html(analysed(frame(3, centre=-30.0, arms={"a": 0.0, "b": 0.5})))
    parts = page[page.index("Day by day") : page.index("Warnings</h3>")]
    assert "Difference by day" in parts and "Difference per segment" in parts
    assert "elative lift" not in parts
    assert not re.search(r"[+−]\d[\d.,]*\u00a0%", parts)
    assert "EUR" in parts


def test_a_level_whose_control_loses_turns_all_levels_into_differences() -> None:
    """The whole control is above zero, so the metric itself has a lift."""
    table = frame(4, centre=-10.0, arms={"a": 0.0, "b": 0.5}).with_columns(
        pl.col("profit") + pl.when(pl.col("segment_use") == "heavy").then(80.0).otherwise(0.0)
    )
    (found,) = analysed(table).comparisons
    assert found.metrics[0].scale == "relative"
    assert {segment.scale for segment in found.segments} == {"absolute"}
    for segment in found.segments:
        assert segment_outcome(segment, found.metrics[0]) == "better"
    assert {day.scale for day in found.daily} == {"relative"}


def test_differences_of_a_percentage_are_in_points() -> None:
    table = frame(5, centre=-0.3, arms={"a": 0.0, "b": 0.05})
    percent = dataclasses.replace(LOSS, percent=True, unit="%", lift="absolute")
    plan = dataclasses.replace(PLAN, metrics={"profit": percent})
    (plain,), (found,) = (analysed(table, p).comparisons for p in (PLAN, plan))
    last, shown = plain.daily[-1].cumulative, found.daily[-1].cumulative
    assert last is not None and shown is not None
    assert shown.value == pytest.approx(100.0 * last.value)
    assert shown.value == pytest.approx(found.metrics[0].absolute.value)  # type: ignore[union-attr]
    assert found.novelty is not None and plain.novelty is not None
    assert found.novelty.slope.value == pytest.approx(100.0 * plain.novelty.slope.value)
    assert found.novelty.last == pytest.approx(100.0 * plain.novelty.last)
    assert found.segments[0].effect is not None and plain.segments[0].effect is not None
    assert found.segments[0].effect.value == pytest.approx(100.0 * plain.segments[0].effect.value)


def test_several_treatments_of_a_loss_are_drawn_as_differences() -> None:
    table = frame(6, centre=-30.0, arms={"a": 0.0, "b": 0.5, "c": -0.5})
    plan = dataclasses.replace(
        PLAN,
        min_effect=0.1,
        min_effect_in_units=True,
        metrics={"profit": dataclasses.replace(LOSS, lift="absolute")},
    )
    result = analysed(table, plan)
    page = render_html(result)
    overview = page[page.index('id="overview"') : page.index("Day by day")]
    assert "below the minimum effect of 0.1 EUR" in overview
    assert "Relative lift</th>" not in overview
    bar = re.search(r">b: ([^<]*), better<", overview)
    assert bar is not None and "EUR" in bar.group(1) and "n/a" not in bar.group(1)
    assert 'class="ci better"' in overview
    compared = render_comparison_html([("one", result), ("two", result)])
    assert "n/a, interval n/a" not in compared
