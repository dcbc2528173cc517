"""A row of the table of metrics: raw arms, families and what the test could detect."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy import stats

from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.render.html import render_html
from reports.results import MetricComparison

TIME = Metric("time", "Time", "s per user-day", ("ms",), scale=0.001)
RATE = Metric("rate", "Rate", "%", ("clicks",), ("views",), percent=True)
LESS = Metric("less", "Less", "per user-day", ("less",), direction="down")
PLAN = AnalysisPlan(
    primary="time",
    secondary=("rate",),
    guardrails={"less": 0.4},
    metrics={metric.name: metric for metric in (TIME, RATE, LESS)},
)
SIZES = {"a": 300, "b": 200, "c": 250}
DAYS = 2


def users(seed: int, arms: str) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for number, arm in enumerate(arms):
        n = SIZES[arm]
        for day in range(DAYS):
            views = rng.integers(1, 30, n)
            frames.append(
                pl.DataFrame(
                    {
                        "user_id": np.arange(n) + 1_000 * number,
                        "arm": [arm] * n,
                        "day": np.full(n, day),
                        "ms": rng.gamma(2.0, 4_000.0, n) * (1.0 + 0.2 * number),
                        "clicks": rng.binomial(views, 0.3).astype(float),
                        "views": views.astype(float),
                        "less": rng.gamma(4.0, 1.0, n),
                    }
                )
            )
    return pl.concat(frames)


def rows(frame: pl.DataFrame, plan: AnalysisPlan = PLAN) -> dict[str, dict[str, MetricComparison]]:
    """By treatment and metric."""
    _, *treatments = frame["arm"].unique(maintain_order=True)
    split = {arm: float(SIZES[arm]) for arm in ("a", *treatments)}
    result = analyze(frame, plan, control="a", treatments=treatments, planned_split=split)
    return {c.treatment: {m.metric: m for m in c.metrics} for c in result.comparisons}


def sums(frame: pl.DataFrame, arm: str) -> pl.DataFrame:
    return frame.filter(arm=arm).drop("arm").group_by("user_id").sum().sort("user_id")


def test_the_arms_are_shown_as_they_are_with_their_totals() -> None:
    frame = users(1, "ab")
    found = rows(frame)["b"]
    for arm, side in (("a", "control"), ("b", "treatment")):
        own = sums(frame, arm)
        time = own["ms"].to_numpy() / 1_000.0 / DAYS
        shown = getattr(found["time"], side)
        assert (shown.arm, shown.users) == (arm, SIZES[arm])
        assert shown.value == pytest.approx(time.mean())
        assert shown.standard_error == pytest.approx(stats.sem(time))
        assert shown.total == pytest.approx(own["ms"].sum() / 1_000.0)
        assert shown.base == SIZES[arm] * DAYS
        clicks, views = own["clicks"].to_numpy(), own["views"].to_numpy()
        ratio = clicks.sum() / views.sum()
        shown = getattr(found["rate"], side)
        assert shown.value == pytest.approx(100.0 * ratio)
        linear = (clicks - ratio * views) / views.mean()
        error = np.sqrt(linear.var(ddof=1) / len(views))
        assert shown.standard_error == pytest.approx(100.0 * error)
        assert (shown.total, shown.base) == (clicks.sum(), views.sum())


def test_what_a_test_could_detect_is_that_of_its_share_of_alpha() -> None:
    """One primary metric has all of alpha; of two treatments each has half of it."""
    for arms, tests in (("ab", 1), ("abc", 2)):
        frame = users(2, arms)
        for treatment, found in rows(frame).items():
            row = found["time"]
            a, b = (sums(frame, arm)["ms"].to_numpy() / 2_000.0 for arm in ("a", treatment))
            test = stats.ttest_ind(b, a, equal_var=False)
            law = stats.t(test.df)
            error = (b.mean() - a.mean()) / test.statistic
            reach = (law.isf(0.025 / tests) + law.isf(0.2)) * error
            assert row.detectable_difference == pytest.approx(reach, rel=1e-9)
            assert row.detectable_effect == pytest.approx(reach / a.mean(), rel=1e-9)


def test_the_method_of_an_interval_is_named() -> None:
    frame = users(5, "ab").filter(day=0)
    found = rows(frame)["b"]
    assert (found["time"].method, found["time"].relative_method) == ("welch", "fieller")
    rare = frame.with_columns((pl.col("user_id") % 50 == 0).cast(pl.Float64).alias("less"))
    row = rows(rare)["b"]["less"]
    assert (row.method, row.relative_method) == ("score", "score")
    assert row.variance_reduction is None
    below = frame.with_columns(pl.col("less") - 100.0)
    row = rows(below)["b"]["less"]
    assert (row.method, row.relative_method, row.relative) == ("welch", "none", None)


def test_without_days_before_no_variance_is_removed_not_even_by_rounding() -> None:
    """The square of a square root is off by a rounding in every third table."""
    for seed in range(12):
        frame = users(seed, "ab")
        _, *treatments = frame["arm"].unique(maintain_order=True)
        result = analyze(
            frame,
            PLAN,
            control="a",
            treatments=treatments,
            planned_split={arm: SIZES[arm] for arm in "ab"},
        )
        assert {m.variance_reduction for m in result.comparisons[0].metrics} == {0.0}
        assert "of the variance." not in render_html(result)


@pytest.mark.parametrize(("gain", "scale"), [(2.0, "absolute"), (2_000.0, "relative")])
def test_a_lift_that_cannot_be_read_is_shown_as_a_difference(gain: float, scale: str) -> None:
    """Beside 10^9, 2 are 0.0000002 %, and 2,000 are 0.0002 %."""
    frame = users(6, "ab").with_columns(
        pl.col("less") + 1e9 + pl.when(pl.col("arm") == "b").then(gain).otherwise(0.0)
    )
    row = rows(frame)["b"]["less"]
    assert row.scale == scale and row.absolute is not None
    assert row.absolute.value == pytest.approx(gain, abs=0.5)
    assert (row.relative is None) == (scale == "absolute")
    assert any("so large a control" in text for text in row.warnings) == (scale == "absolute")


def test_families_are_named_by_role() -> None:
    found = rows(users(3, "ab"))["b"]
    assert found["time"].family == "primary"
    assert found["less"].family == "guardrail (non-inferiority)"
    assert found["rate"].family == "secondary (Holm, 1 metric)"
    alone = rows(users(3, "ab"), dataclasses.replace(PLAN, correct="none"))["b"]
    assert alone["rate"].family == "secondary"


def test_a_guardrail_that_should_fall_is_judged_at_half_of_alpha_on_each_side() -> None:
    """The margin is moved until the one-sided p value of either side is just at 2.5 %."""
    frame = users(4, "ab")
    a, b = (sums(frame, arm)["less"].to_numpy() / DAYS for arm in "ab")
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    freedom = stats.ttest_ind(b, a, equal_var=False).df
    critical = stats.t.isf(0.025, freedom)
    # The roots of (b - f a)^2 = critical^2 (vb + f^2 va) are the bounds of the ratio.
    roots = np.roots(
        [
            a.mean() ** 2 - critical**2 * va,
            -2.0 * a.mean() * b.mean(),
            b.mean() ** 2 - critical**2 * vb,
        ]
    )
    low, high = sorted(roots - 1.0)
    shift = 0.5
    shifted = frame.with_columns(
        pl.when(pl.col("arm") == "b").then(pl.col("less") * (1.0 + shift)).otherwise("less")
    )
    worse_low, worse_high = ((1.0 + bound) * (1.0 + shift) - 1.0 for bound in (low, high))
    for edge, before, after in (
        (worse_high, "not clear", "within margin"),
        (worse_low, "margin broken", "not clear"),
    ):
        for factor, outcome in ((0.999, before), (1.001, after)):
            plan = dataclasses.replace(PLAN, guardrails={"less": edge * factor})
            assert rows(shifted, plan)["b"]["less"].outcome == outcome
