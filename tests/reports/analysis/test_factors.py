"""Why the primary metric moved, and what every arm is without any adjustment."""

from __future__ import annotations

import dataclasses
import math

import polars as pl
import pytest

from abtest.results.factors import STEPS, with_factors
from abtest.results.metrics import BUILT_IN_METRICS as METRICS
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan
from reports.results import ArmComparison
from simulator.behaviours import OUTCOMES
from tests.reports.conftest import make_outcomes

ARMS = {"sasrec": 1.0, "lsvcr": 1.2, "popular": 0.9}


def compared(design: str = "online", **plan: object) -> tuple[ArmComparison, ...]:
    frame = make_outcomes(5, ARMS, users=400, twin=design == "twin")
    chosen = with_factors(AnalysisPlan(**{"metrics": METRICS, **plan}))  # type: ignore[arg-type]
    result = analyze(frame, chosen, control="sasrec", treatments=["lsvcr", "popular"],
                     design=design)  # type: ignore[arg-type]  # fmt: skip
    return result.comparisons


@pytest.mark.parametrize("design", ["online", "twin"])
@pytest.mark.parametrize("primary", ["comment_watch_time", "play_time", "likes"])
def test_the_factors_multiply_to_the_lift_that_is_shown(design: str, primary: str) -> None:
    for comparison in compared(design, primary=primary, secondary=()):
        split, metric = comparison.factors, comparison.metrics[0]
        assert split is not None and metric.relative is not None
        assert split.lift == pytest.approx(metric.relative.value, rel=1e-9)
        parts = [f.contribution.value for f in split.factors]
        assert sum(parts) == pytest.approx(metric.relative.value, rel=1e-9)
        for arm, value in (
            ("control", metric.control.value),
            ("treatment", metric.treatment.value),
        ):
            shown = [getattr(f, arm) / (100.0 if f.unit == "%" else 1.0) for f in split.factors]
            assert math.prod(shown) == pytest.approx(value, rel=1e-9)


def test_the_factor_that_was_changed_is_the_one_that_explains_the_lift() -> None:
    (split, _) = [c.factors for c in compared()]
    assert split is not None
    stay = split.factors[-1]
    assert stay.name == "stay_per_open"
    assert stay.relative.low is not None and stay.relative.low > 0.0
    for other in split.factors[:-1]:
        assert other.relative.low is not None and other.relative.high is not None
        assert other.relative.low < 0.0 < other.relative.high


@pytest.mark.parametrize(
    "plan",
    [
        {"primary": "click_rate"},
        {"strata": ("activity",)},
        {"slopes": "by arm"},
        {"select": True},
        {"metrics": METRICS | {
            "comment_watch_time": dataclasses.replace(METRICS["comment_watch_time"], cap=0.9)
        }},
    ],
    ids=["ratio", "strata", "slopes", "select", "cap"],
)  # fmt: skip
def test_what_is_not_such_a_product_is_not_taken_apart(plan: dict[str, object]) -> None:
    assert all(c.factors is None for c in compared(**plan))


def test_declared_columns_are_outcomes_and_end_with_the_metric() -> None:
    for name, steps in STEPS.items():
        assert steps[-1].columns == METRICS[name].numerator
        assert steps[-1].scale == METRICS[name].scale
        assert {c for step in steps for c in step.columns} <= set(OUTCOMES)


def test_every_arm_has_one_value_which_is_its_total_over_its_base() -> None:
    frame = make_outcomes(5, ARMS, users=400).filter(pl.col("day") >= 0)
    first, second = compared()
    for a, b in zip(first.metrics, second.metrics, strict=True):
        raw = [(m.control.value, m.control.total, m.control.base) for m in (a, b)]
        assert raw[0] == raw[1], a.metric
    watch, clicks = first.metrics[0], next(m for m in first.metrics if m.metric == "click_rate")
    for arm in (watch.control, watch.treatment):
        own = frame.filter(arm=arm.arm)
        seconds = own["comment_watch_time_ms"].sum() / 1000.0
        assert (arm.total, arm.base) == (pytest.approx(seconds), own.height)
        assert arm.value == pytest.approx(seconds / own.height)
        assert arm.adjusted is not None and arm.adjusted != arm.value
    for arm in (clicks.control, clicks.treatment):
        own = frame.filter(arm=arm.arm)
        assert (arm.total, arm.base) == (own["clicks"].sum(), own["impressions"].sum())
        assert arm.value == pytest.approx(100.0 * own["clicks"].sum() / own["impressions"].sum())
    assert watch.absolute is not None and watch.treatment.adjusted is not None
    assert watch.control.adjusted is not None
    difference = watch.treatment.adjusted - watch.control.adjusted
    assert watch.absolute.value == pytest.approx(difference)


def test_a_metric_without_a_relative_lift_has_no_factors_of_it() -> None:
    """Where the control may be zero there is no lift that factors could add up to."""
    frame = make_outcomes(5, {"sasrec": 1.0, "lsvcr": 1.2}, users=5)
    noisy = pl.col("comment_watch_time_ms") * pl.when(pl.col("user_id") % 5 == 0).then(1).otherwise(
        0
    )
    frame = frame.with_columns(noisy.alias("comment_watch_time_ms"))
    plan = with_factors(AnalysisPlan(metrics=METRICS))
    (comparison,) = analyze(frame, plan, control="sasrec", treatments=["lsvcr"]).comparisons
    assert comparison.metrics[0].absolute is not None and comparison.metrics[0].relative is None
    assert comparison.factors is None
