"""The A/A chip of the trust panel."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from abtest.results.metrics import platform_metrics
from reports.analysis.analyze import analyze
from reports.analysis.calibration import (
    analysed_columns,
    calibrate,
    calibration_check,
    scored,
    user_columns,
)
from reports.analysis.estimation import estimate
from reports.plan import AnalysisPlan, Metric, metric
from reports.results import HealthCheck
from reports.statistics.checks.aa import aa_p_values, assignments
from reports.statistics.rates import Rate, compare_rates
from reports.users.metric_columns import during
from reports.users.table import UserTable
from tests.reports.conftest import make_outcomes, make_result

ARMS = {"control": 1.0, "treatment": 1.4}


def chip(frame: pl.DataFrame, design: str = "online") -> HealthCheck:
    return calibration_check(
        UserTable(frame, list(ARMS)), AnalysisPlan(metrics=platform_metrics()), design
    )


@pytest.mark.parametrize("name", ["comment_watch_time", "click_rate"])
def test_a_replicate_is_what_the_experiment_would_report_of_that_split(name: str) -> None:
    frame = make_outcomes(1, ARMS, users=400)
    table = UserTable(frame, list(ARMS))
    columns = user_columns(table, metric(name, platform_metrics()), "control")
    p = aa_p_values([columns], replicates=3, seed=5)[:, 0]
    users = table.during.filter(arm="control")["user_id"].to_numpy()
    for replicate in range(3):
        second = set(users[assignments(400, seed=5, first=replicate)[0]].tolist())
        split = frame.filter(arm="control").with_columns(
            pl.when(pl.col("user_id").is_in(second))
            .then(pl.lit("b"))
            .otherwise(pl.lit("a"))
            .alias("arm")
        )
        again = UserTable(split, ["a", "b"])
        found = estimate(
            again,
            during,
            metric(name, platform_metrics()),
            again.days,
            ("a", "b"),
            "online",
            AnalysisPlan(metrics=platform_metrics()),
        )
        # The analysis also counts the noise that arms share through the covariates' centre.
        assert p[replicate] == pytest.approx(found.compare(0.95).p_value, rel=1e-4)


def test_the_chip_reports_the_primary_metric_and_the_guardrails() -> None:
    found = chip(make_outcomes(2, ARMS, users=800))
    assert (found.name, found.status) == ("aa", "pass")
    for words in ("1,000 splits of the control arm", "comment watch time", "hates", "nominal 5 %"):
        assert words in found.detail


def test_an_effect_in_the_treatment_does_not_reach_the_chip() -> None:
    same = chip(make_outcomes(3, {"control": 1.0, "treatment": 1.0}))
    assert chip(make_outcomes(3, ARMS)) == same


def test_a_heavy_tail_shows() -> None:
    """One user holds nearly all comment time: the t statistic is then always near 1."""
    frame = make_outcomes(4, ARMS).with_columns(
        pl.when((pl.col("user_id") == 7) & (pl.col("day") == 0))
        .then(1e12)
        .otherwise(pl.col("comment_watch_time_ms"))
        .alias("comment_watch_time_ms")
    )
    found = chip(frame)
    assert found.status == "warn"
    assert found.detail.startswith("'comment_watch_time': too few false alarms;")


def test_what_cannot_be_split_is_not_run() -> None:
    assert chip(make_outcomes(5, ARMS, twin=True), "twin").status == "not run"
    assert chip(make_outcomes(5, ARMS, users=40)).status == "not run"
    silent = make_outcomes(5, ARMS).with_columns(
        pl.lit(0.0).alias("hates"), pl.lit(0.0).alias("comment_watch_time_ms")
    )
    assert chip(silent).status == "not run"


def test_missing_values_do_not_stop_the_report() -> None:
    frame = make_outcomes(5, ARMS).with_columns(
        pl.when(pl.col("user_id") == 3).then(np.nan).otherwise(pl.col("hates")).alias("hates")
    )
    found = chip(frame)
    assert found.status == "not run"
    assert "missing or infinite" in found.detail


def test_of_very_many_users_a_part_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.analysis.calibration._MOST_USERS", 200)
    found = chip(make_outcomes(5, ARMS, users=700))
    assert "splits of 175 users of the control arm" in found.detail


def test_every_report_has_the_chip_once() -> None:
    result = make_result(users=200)
    assert [c.name for c in result.health].count("aa") == 1
    real = analyze(
        make_outcomes(6, ARMS), AnalysisPlan(metrics=platform_metrics()), control="control",
        treatments=["treatment"], design="observed", simulated=False,
    )  # fmt: skip
    assert [c.status for c in real.health if c.name == "aa"] == ["pass"]


def test_a_report_has_the_rate_of_every_metric_and_of_the_family() -> None:
    rng = np.random.default_rng(7)
    names = ("likes", "sessions", "hates")
    columns = {n: np.column_stack([rng.gamma(2.0, 1.0, 500), np.ones(500)]) for n in names}
    report = calibrate(
        columns, [metric(n, platform_metrics()) for n in names], replicates=400, seed=1
    )
    document = report.to_dict()
    assert [m["metric"] for m in document["metrics"]] == list(names)
    # Holm over three calibrated metrics: three standard errors above 5 % are 8.3 %.
    assert report.family_rate is not None and report.family_rate < 0.083
    assert all(m["low"] <= m["rate"] <= m["high"] for m in document["metrics"])


def test_rare_events_are_split_by_the_score_test() -> None:
    rng = np.random.default_rng(8)
    events = (rng.random(3_000) < 0.005).astype(float)
    columns = np.column_stack([events, np.ones(3_000)])
    p = aa_p_values([columns], replicates=4, seed=3, by_score=[0])[:, 0]
    for replicate in range(4):
        second = assignments(3_000, seed=3, first=replicate)[0]
        sides = [events[~second], events[second]]
        rates = [Rate(int(own.sum()), len(own)) for own in sides]
        assert p[replicate] == pytest.approx(compare_rates(*rates).p_value, rel=1e-9)
    rare = Metric("rare", "Rare", "per user", ("rare",))
    plan = AnalysisPlan("rare", (), {}, metrics={"rare": rare}, covariates=())
    assert scored({"rare": columns}, plan) == ["rare"]
    assert scored({"rare": columns}, dataclasses.replace(plan, rates="welch")) == []
    often = np.column_stack([np.arange(3_000) % 2, np.ones(3_000)]).astype(float)
    assert scored({"rare": often}, plan) == []
    assert scored({"rare": often * [3.0, 1.0]}, plan) == []


def test_covariates_of_the_chip_are_those_that_the_analysis_keeps() -> None:
    rng = np.random.default_rng(9)
    frame = pl.DataFrame(
        {
            "user_id": np.tile(np.arange(600), 2),
            "arm": ["control", "treatment"] * 600,
            "day": np.repeat([-1, 0], 600),
            "x": rng.normal(0.0, 1.0, 1_200),
            "idle": rng.normal(0.0, 1.0, 1_200),
        }
    )
    habit = rng.normal(0.0, 2.0, 600)
    frame = frame.with_columns(x=pl.col("x") + pl.Series(np.tile(habit, 2)))
    table = UserTable(frame, ["control", "treatment"])
    chosen = Metric("x", "X", "per user", ("x",))
    every = analysed_columns(table, chosen, "control", ("idle",), select=False)
    kept = analysed_columns(table, chosen, "control", ("idle",), select=True)
    assert (every.shape[1], kept.shape[1]) == (4, 3)
    assert np.array_equal(kept, every[:, :3])
    assert len(analysed_columns(table, chosen, "control", ("idle",), select=False, step=7)) == 43
