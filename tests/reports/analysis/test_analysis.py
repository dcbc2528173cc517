"""From an outcome table to a verdict."""

from __future__ import annotations

import polars as pl
import pytest
from scipy import stats

from abtest.results.metrics import platform_metrics
from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, PlanError, build_plan
from reports.results import ExperimentResult, MetricComparison
from reports.statistics.errors import StatisticsError
from reports.verdict.words import check_sentence
from tests.reports.conftest import make_outcomes

EFFECT = {"control": 1.0, "treatment": 1.15}
NONE = {"control": 1.0, "treatment": 1.0}


def run(table: pl.DataFrame, **options: object) -> ExperimentResult:
    settings = {"control": "control", "treatments": ["treatment"], "design": "online"}
    plan = options.pop("plan", AnalysisPlan(metrics=platform_metrics()))
    return analyze(table, plan, **{**settings, **options})  # type: ignore[arg-type]


def row(result: ExperimentResult, name: str) -> MetricComparison:
    return next(m for m in result.comparisons[0].metrics if m.metric == name)


def test_planted_effect_is_found_and_covered() -> None:
    result = run(make_outcomes(1, EFFECT, users=2_000))
    primary = row(result, "comment_watch_time")
    assert result.comparisons[0].verdict.state == "better"
    assert primary.relative is not None
    assert primary.relative.low is not None
    assert primary.relative.high is not None
    assert primary.relative.low < 0.15 < primary.relative.high
    assert primary.variance_reduction is not None
    assert primary.variance_reduction > 0.1


def test_no_effect_is_not_clear() -> None:
    verdict = run(make_outcomes(2, NONE)).comparisons[0].verdict
    assert verdict.state == "not clear"
    assert verdict.finding == "no change"


def test_significant_but_small_is_not_clear() -> None:
    result = run(
        make_outcomes(1, EFFECT, users=2_000),
        plan=AnalysisPlan(metrics=platform_metrics(), min_effect=0.5),
    )
    assert result.comparisons[0].verdict.state == "not clear"
    assert result.comparisons[0].verdict.finding == "below minimum"


def test_absurd_lift_is_suspicious() -> None:
    result = run(make_outcomes(3, {"control": 1.0, "treatment": 3.0}))
    assert result.comparisons[0].verdict.state == "suspicious"


def test_broken_split_means_no_verdict() -> None:
    table = make_outcomes(4, EFFECT)
    kept = table.filter((pl.col("arm") == "control") | (pl.col("user_id") % 3 > 0))
    result = run(kept)
    assert {c.name: c.status for c in result.health}["srm"] == "fail"
    assert result.comparisons[0].verdict.state == "no verdict"


def test_planned_split_is_respected() -> None:
    table = make_outcomes(4, NONE)
    kept = table.filter((pl.col("arm") == "control") | (pl.col("user_id") % 3 > 0))
    result = run(kept, planned_split={"control": 0.6, "treatment": 0.4})
    assert {c.name: c.status for c in result.health}["srm"] == "pass"


def test_user_in_two_arms_and_repeated_days_fail() -> None:
    table = make_outcomes(5, NONE)
    moved = table.with_columns(
        pl.when((pl.col("user_id") == 3) & (pl.col("day") == 1))
        .then(pl.lit("treatment"))
        .otherwise(pl.col("arm"))
        .alias("arm")
    )
    assert {c.name: c.status for c in run(moved).health}["users"] == "fail"
    doubled = pl.concat([table, table.head(1)])
    assert run(doubled).comparisons[0].verdict.state == "no verdict"


def test_silent_metric_is_a_warning_and_has_no_lift() -> None:
    table = make_outcomes(6, NONE).with_columns(pl.lit(0.0).alias("hates"))
    result = run(table)
    silent = next(check for check in result.health if check.name == "silent")
    assert silent.status == "warn" and silent.facts == {"metric": "hates", "users": 1_200}
    assert check_sentence(silent) == "'hates' is 0 for all 1,200 users; no lift computed"
    hates = row(result, "hates")
    assert (hates.outcome, hates.relative, hates.p_value) == ("no data", None, None)


def test_guardrail_margins() -> None:
    table = make_outcomes(7, NONE, users=3_000)
    worse = table.with_columns(
        pl.when((pl.col("arm") == "treatment") & (pl.col("day") >= 0))
        .then(pl.col("clicks") * 0.7)
        .otherwise(pl.col("clicks"))
        .alias("clicks")
    )
    plan = build_plan(metrics=platform_metrics(), guardrails=["click_rate=-5%"])
    assert row(run(worse, plan=plan), "click_rate").outcome == "margin broken"
    assert row(run(table, plan=plan), "click_rate").outcome == "within margin"


def test_guardrail_broken_by_a_winner_is_worse() -> None:
    table = make_outcomes(8, EFFECT, users=3_000).with_columns(
        pl.when((pl.col("arm") == "treatment") & (pl.col("day") >= 0))
        .then(pl.col("clicks") * 0.7)
        .otherwise(pl.col("clicks"))
        .alias("clicks")
    )
    result = run(table, plan=build_plan(metrics=platform_metrics(), guardrails=["click_rate=-5%"]))
    assert result.comparisons[0].verdict.state == "worse"
    assert result.comparisons[0].verdict.finding == "guardrail broken"


def test_secondary_metrics_are_holm_adjusted_with_matching_intervals() -> None:
    result = run(make_outcomes(9, EFFECT, users=1_500))
    secondary = [m for m in result.comparisons[0].metrics if m.role == "secondary"]
    assert len(secondary) >= 6
    for metric in secondary:
        assert metric.p_value is not None
        assert metric.p_adjusted is not None
        assert metric.absolute is not None
        assert metric.absolute.low is not None
        assert metric.absolute.high is not None
        assert metric.p_adjusted >= metric.p_value
        excludes = metric.absolute.low > 0 or metric.absolute.high < 0
        assert excludes == (metric.p_adjusted < 0.05)


def test_twin_design_is_the_paired_test() -> None:
    table = make_outcomes(10, EFFECT, users=400, twin=True).filter(pl.col("day") >= 0)
    primary = row(run(table, design="twin"), "comment_watch_time")
    per_user = table.group_by("arm", "user_id").agg(pl.col("comment_watch_time_ms").sum())
    a, b = (
        per_user.filter(arm=name).sort("user_id")["comment_watch_time_ms"].to_numpy()
        for name in ("control", "treatment")
    )
    assert primary.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue, rel=1e-9)
    assert run(table, design="twin").comparisons[0].true_effect is not None


def test_order_of_rows_changes_nothing() -> None:
    table = make_outcomes(11, EFFECT)
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=3)
    assert run(shuffled).to_json() == run(table).to_json()


def test_several_treatments() -> None:
    table = make_outcomes(12, {"control": 1.0, "a": 1.0, "b": 1.2}, users=1_500)
    result = run(table, treatments=["a", "b"])
    assert [c.treatment for c in result.comparisons] == ["a", "b"]
    assert result.comparisons[1].verdict.state == "better"


def test_single_day_without_a_pre_period() -> None:
    table = make_outcomes(13, NONE, days=1).filter(pl.col("day") == 0)
    result = run(table)
    assert len(result.comparisons[0].daily) == 1
    assert {c.name: c.status for c in result.health}["balance"] == "not run"


def test_missing_arm_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="'treatment' has no users"):
        run(make_outcomes(14, NONE).filter(pl.col("arm") == "control"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"primary": "watch"}, "unknown metric 'watch'"),
        ({"primary": "comment_watch_tme"}, "Did you mean 'comment_watch_time'"),
        ({"guardrails": ["click_rate"]}, "METRIC=MARGIN"),
        ({"guardrails": ["click_rate=lots"]}, "METRIC=MARGIN"),
    ],
)
def test_plans_that_make_no_sense(options: dict[str, object], expected: str) -> None:
    with pytest.raises(PlanError, match=expected):
        build_plan(metrics=platform_metrics(), **options)  # type: ignore[arg-type]


def test_primary_is_not_tested_twice() -> None:
    plan = build_plan(metrics=platform_metrics(), primary="click_rate", guardrails=["likes=-2%"])
    assert "click_rate" not in plan.secondary
    assert "likes" not in plan.secondary
    assert plan.guardrails["likes"] == pytest.approx(0.02)
