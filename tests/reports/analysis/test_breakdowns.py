"""The primary metric by day, by segment and in two parts, and how a reader gets to see it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats

from abtest.results.metrics import platform_metrics
from reports.analysis.analyze import analyze
from reports.analysis.breakdowns import always_valid
from reports.analysis.estimation import Estimated, estimate, estimate_levels
from reports.plan import AnalysisPlan
from reports.render.html import render_html
from reports.render.terminal import render
from reports.results import ArmComparison, ExperimentResult
from reports.statistics.lift import difference_error
from reports.statistics.moments import Moments
from reports.statistics.novelty import cumulative_estimates, daily_moments
from reports.statistics.sequential.mixtures import EffectMixture, critical_value
from reports.users.metric_columns import look_at
from reports.users.table import UserTable
from reports.verdict import words
from tests.reports.conftest import make_outcomes

ARMS = {"control": 1.0, "treatment": 1.2}
PLAN = AnalysisPlan(metrics=platform_metrics())


def run(frame: pl.DataFrame, design: str = "online") -> ExperimentResult:
    return analyze(frame, PLAN, control="control", treatments=["treatment"], design=design)  # type: ignore[arg-type]


def scaled(frame: pl.DataFrame, where: pl.Expr, factor: pl.Expr | float) -> pl.DataFrame:
    """Comment watch time multiplied in some rows of the treatment during the experiment."""
    name = "comment_watch_time_ms"
    there = (pl.col("arm") == "treatment") & (pl.col("day") >= 0) & where
    return frame.with_columns(
        pl.when(there).then(pl.col(name) * factor).otherwise(pl.col(name)).alias(name)
    )


def shown(result: ExperimentResult) -> str:
    return " ".join(render(result, width=110, encoding="ascii", color=False).split())


@pytest.fixture(scope="module")
def plain() -> ExperimentResult:
    return run(make_outcomes(41, ARMS))


def first(result: ExperimentResult) -> ArmComparison:
    return result.comparisons[0]


@pytest.mark.parametrize("design", ["online", "twin"])
def test_bands_have_the_critical_value_of_the_mixture(design: str) -> None:
    table = UserTable(make_outcomes(42, ARMS, users=200, twin=design == "twin"), list(ARMS))
    chosen = PLAN.metric(PLAN.primary)
    looks = [
        estimate(
            table,
            look_at(day, only=False),
            chosen,
            day + 1,
            ("control", "treatment"),
            design,
            PLAN,
        )  # type: ignore[arg-type]
        for day in range(table.days)
    ]
    band = always_valid(looks, 0.95)[-1].relative
    last = looks[-1]
    error = difference_error(*last.arms, last.covariance)
    critical = float(critical_value(EffectMixture.tuned(error).time(0, error), 0.05))
    assert band is not None and band.low is not None and band.high is not None
    a, b = last.arms
    for bound in (band.low, band.high):
        ratio = 1.0 + bound
        spread = b.variance + ratio**2 * a.variance - 2.0 * ratio * last.covariance
        z = abs(b.adjusted - ratio * a.adjusted) / np.sqrt(spread)
        assert z == pytest.approx(critical, rel=1e-9)


def test_bands_hold_at_every_look_and_one_look_intervals_do_not() -> None:
    """No effect, 10 days, 400 experiments; 36 alarms or more at 5 % have chance 0.001."""
    rng = np.random.default_rng(43)
    band_alarms = look_alarms = 0
    nobody = Moments.of(np.zeros((0, 2)))
    for _ in range(400):
        taste = rng.gamma(2.0, 1.0, (2, 250, 1))
        control, treatment = (daily_moments(own * rng.gamma(1.0, 1.0, (250, 10))) for own in taste)
        looks = [
            Estimated(arms, 0.0, False, (nobody, nobody), lambda: iter(()))
            for arms in cumulative_estimates(control, treatment, 10)
        ]
        bands = [b for look in always_valid(looks, 0.95) if (b := look.relative) is not None]
        band_alarms += any((b.low or 0.0) > 0.0 or (b.high or 0.0) < 0.0 for b in bands)
        look_alarms += any(look.compare(0.95).p_value < 0.05 for look in looks)
    assert band_alarms < 36 <= look_alarms


def test_the_report_says_which_intervals_hold_at_every_look(plain: ExperimentResult) -> None:
    page = render_html(plain)
    for day in first(plain).daily:
        assert day.cumulative is not None and day.always_valid is not None
        assert day.always_valid.low is not None and day.cumulative.low is not None
        assert day.always_valid.low < day.cumulative.low
    assert "valid at every look" in page
    assert "not at every look" not in page


def test_novelty_is_a_sentence_with_p_and_family(plain: ExperimentResult) -> None:
    rising = first(run(scaled(make_outcomes(44, ARMS, days=5), pl.lit(True), 1.0 + pl.col("day"))))
    assert rising.novelty is not None
    assert rising.novelty.p_value < 0.001
    assert rising.novelty.last > rising.novelty.first
    sentence = words.novelty(rising) or ""
    assert "the lift rises" in sentence and "novelty (one test)" in sentence and "p <" in sentence
    assert "Novelty:" in render_html(plain)


def test_no_novelty_from_one_day_or_from_twins() -> None:
    assert first(run(make_outcomes(45, ARMS, users=200, days=1))).novelty is None
    twin = run(make_outcomes(45, ARMS, users=200, twin=True), "twin")
    assert first(twin).novelty is None
    assert first(twin).two_part is None


def test_interaction_is_found_and_shown_only_where_there_is_one(plain: ExperimentResult) -> None:
    frame = scaled(make_outcomes(46, ARMS), pl.col("segment_activity") == "light", 2.0)
    (test,) = first(run(frame)).interactions
    assert test.p_value < 0.001
    assert "The lift differs between the levels of 'activity'" in shown(run(frame))
    (none,) = first(plain).interactions
    assert none.p_value > 0.05
    assert "differs between the levels" not in shown(plain)
    assert "Does the lift differ between levels?" in render_html(plain)


def test_interactions_are_the_tests_of_disjoint_levels_holm_over_variables() -> None:
    frame = make_outcomes(47, ARMS).with_columns(
        pl.when(pl.col("user_id") % 2 == 0)
        .then(pl.lit("even"))
        .otherwise(pl.lit("odd"))
        .alias("segment_<b>parity")
    )
    result = run(frame)
    tests = {test.segment: test for test in first(result).interactions}
    table = UserTable(frame, list(ARMS))
    pair = ("control", "treatment")
    chosen = PLAN.metric(PLAN.primary)
    sizes = dict.fromkeys(("heavy", "light"), 100)
    levels = list(estimate_levels(table, chosen, pair, "online", PLAN, "activity", sizes).values())

    def misfit(ratio: float) -> float:
        total = 0.0
        for level in levels:
            a, b = level.arms
            spread = b.variance + ratio**2 * a.variance - 2.0 * ratio * level.covariance
            total += (b.adjusted - ratio * a.adjusted) ** 2 / spread
        return total

    best = optimize.minimize_scalar(misfit, bounds=(0.5, 2.0), method="bounded")
    assert tests["activity"].statistic == pytest.approx(best.fun, rel=1e-4, abs=1e-9)
    oracle = stats.chi2.sf(tests["activity"].statistic, 1)
    assert tests["activity"].p_value == pytest.approx(oracle, rel=1e-9)
    low, high = sorted(test.p_value for test in tests.values())
    adjusted = sorted(test.p_adjusted for test in tests.values())
    assert adjusted == pytest.approx([min(1.0, 2 * low), min(1.0, max(2 * low, high))])
    assert "<b>parity" not in render_html(result)


def test_two_parts_are_the_tests_of_readers_and_of_time_per_reader() -> None:
    silent = make_outcomes(48, ARMS).with_columns(
        pl.when(pl.col("user_id") % 3 == 0)
        .then(0.0)
        .otherwise(pl.col("comment_watch_time_ms"))
        .alias("comment_watch_time_ms")
    )
    gone = scaled(silent, pl.col("user_id") % 5 == 0, 0.0)
    result = run(gone)
    parts = first(result).two_part
    assert parts is not None
    sums = gone.filter(pl.col("day") >= 0).group_by("arm", "user_id")
    totals = sums.agg(pl.col("comment_watch_time_ms").sum()).sort("arm", "user_id")
    a, b = (
        totals.filter(arm=name)["comment_watch_time_ms"].to_numpy() / 3e3
        for name in ("control", "treatment")
    )
    readers = stats.ttest_ind(b > 0, a > 0, equal_var=False).pvalue
    assert parts.share.p_value == pytest.approx(readers, rel=1e-9)
    assert parts.share.treatment.value == pytest.approx(100.0 * np.mean(b > 0))
    assert parts.intensity.control.value == pytest.approx(a[a > 0].mean())
    assert parts.from_share.value < 0.0 or parts.from_share.value > 1.0
    assert "People with any comment watch time" in render_html(result)


@pytest.mark.parametrize("design", ["online", "twin"])
def test_twins_with_zeros_have_no_two_parts(design: str) -> None:
    """Their arms are not independent."""
    silent = make_outcomes(48, ARMS, users=200, twin=design == "twin").with_columns(
        pl.when(pl.col("user_id") % 3 == 0)
        .then(0.0)
        .otherwise(pl.col("comment_watch_time_ms"))
        .alias("comment_watch_time_ms")
    )
    assert (first(run(silent, design=design)).two_part is None) == (design == "twin")


def test_no_two_parts_without_zeros(plain: ExperimentResult) -> None:
    assert first(plain).two_part is None
    assert "per such person" not in render_html(plain)


def test_results_of_older_versions_still_load_and_render(plain: ExperimentResult) -> None:
    document = json.loads(plain.to_json())
    for comparison in document["comparisons"]:
        for name in ("novelty", "interactions", "two_part"):
            del comparison[name]
        for day in comparison["daily"]:
            del day["always_valid"]
    old = ExperimentResult.from_json(json.dumps(document))
    page = render_html(old)
    assert "valid at every look" not in page
    assert "not at every look" in page
    assert "Novelty:" not in page


@pytest.mark.parametrize("design", ["online", "twin"])
def test_a_segment_counts_people_once(design: str) -> None:
    """A twin lives in both arms: it is one pair, not two."""
    level = pl.when(pl.col("user_id") % 2 == 0).then(pl.lit("even")).otherwise(pl.lit("odd"))
    frame = make_outcomes(3, ARMS, users=400, twin=design == "twin")
    result = run(frame.with_columns(level.alias("segment_activity")), design)
    people = result.comparisons[0].metrics[0].control.users * (1 if design == "twin" else 2)
    counts = [segment.users for segment in result.comparisons[0].segments]
    assert counts and sum(counts) == people
