"""Checks before any verdict: were the arms alike before the start?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from abtest.results.metrics import platform_metrics
from reports import formats
from reports.analysis.health import health_checks
from reports.plan import AnalysisPlan
from reports.results import HealthCheck
from reports.statistics.checks.balance import covariate_balance
from reports.statistics.moments import Moments
from reports.users.table import UserTable
from reports.verdict.words import check_sentence
from tests.reports.conftest import make_outcomes

ARMS = {"control": 1.0, "treatment": 1.0}


def checks(frame: pl.DataFrame, design: str = "online") -> dict[str, HealthCheck]:
    table = UserTable(frame, frame["arm"].unique().sort().to_list())
    return {
        c.name: c
        for c in health_checks(table, AnalysisPlan(metrics=platform_metrics()), design, None)
    }


def changed(frame: pl.DataFrame, column: str, factor: float) -> pl.DataFrame:
    """The treatment arm's column multiplied before the start."""
    there = (pl.col("arm") == "treatment") & (pl.col("day") < 0)
    return frame.with_columns(
        pl.when(there).then(pl.col(column) * factor).otherwise(pl.col(column)).alias(column)
    )


def test_the_joint_test_of_all_covariates_is_the_one_shown() -> None:
    frame = make_outcomes(21, ARMS)
    found = checks(frame)["balance"]
    table = UserTable(frame, list(ARMS))
    values = table.before.drop("arm", "user_id").to_numpy()
    oracle = covariate_balance([Moments.of(values[table.rows(arm)]) for arm in table.arms])
    assert found.status == "pass"
    assert found.facts["p"] == oracle.p_value
    assert f"joint {formats.p_equals(oracle.p_value)}" in check_sentence(found)


def test_a_covariate_that_differs_is_named_with_its_corrected_p() -> None:
    found = checks(changed(make_outcomes(22, ARMS), "likes", 1.5))["balance"]
    assert found.status == "warn"
    said = check_sentence(found)
    assert "joint p" in said and "'likes'" in said and "Holm" in said


def test_carry_over_says_how_much_of_the_difference_goes_on() -> None:
    frame = changed(make_outcomes(23, ARMS), "comment_watch_time_ms", 1.4)
    found = checks(frame)["carry_over"]
    assert found.status == "warn"
    said = check_sentence(found)
    assert "before the start" in said and "standard errors" in said
    assert checks(make_outcomes(23, ARMS))["carry_over"].status == "pass"


def test_without_a_past_neither_is_run() -> None:
    frame = make_outcomes(24, ARMS).filter(pl.col("day") >= 0)
    assert {checks(frame)[name].status for name in ("balance", "carry_over")} == {"not run"}
    twin = checks(make_outcomes(24, ARMS, twin=True), "twin")
    assert {twin[name].status for name in ("balance", "carry_over")} == {"not run"}


def test_a_past_in_which_nothing_happened_is_not_run_and_says_why() -> None:
    frame = make_outcomes(25, ARMS)
    outcomes = [c for c in frame.columns if c not in ("user_id", "arm", "day", "segment_activity")]
    silent = frame.with_columns(
        pl.when(pl.col("day") < 0).then(0.0).otherwise(pl.col(c)).alias(c) for c in outcomes
    )
    found = checks(silent)
    assert found["balance"].status == found["carry_over"].status == "not run"
    assert "No covariate varies" in check_sentence(found["balance"])


@pytest.mark.parametrize("name", ["balance", "carry_over"])
def test_alike_arms_rarely_warn(name: str) -> None:
    """Random splits of the same people: 100 at a level of 0.1 %; two alarms have chance 0.005."""
    frame = make_outcomes(26, {"control": 1.0}, users=300, days=1)
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(100):
        treated = rng.permutation(300)[:150]
        arm = pl.when(pl.col("user_id").is_in(treated.tolist())).then(pl.lit("treatment"))
        split = frame.with_columns(arm.otherwise(pl.lit("control")).alias("arm"))
        alarms += checks(split)[name].status == "warn"
    assert alarms <= 1
