"""Checks and constancy know what kind of metric they look at."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from reports.analysis.analyze import analyze
from reports.analysis.calibration import varying
from reports.analysis.health import health_checks
from reports.plan import AnalysisPlan, Metric
from reports.results import ExperimentResult, HealthCheck, MetricComparison
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import compare
from reports.statistics.moments import Moments
from reports.users.table import UserTable
from reports.verdict.words.checks import check_sentence

X = Metric("x", "X", "per user", ("x",))
PLAN = AnalysisPlan("x", (), {}, metrics={"x": X}, covariates=())


def table(arms: dict[str, np.ndarray], **more: dict[str, np.ndarray]) -> UserTable:
    frames = []
    for arm, own in arms.items():
        frame = pl.DataFrame({"user_id": [f"{arm}{i:06d}" for i in range(len(own))], "x": own})
        frame = frame.with_columns(
            arm=pl.lit(arm), **{k: pl.Series(v[arm]) for k, v in more.items()}
        )
        frames.append(frame.select("user_id", "arm", "x", *more))
    return UserTable.of_users(pl.concat(frames), list(arms))


def outliers(arms: dict[str, np.ndarray]) -> HealthCheck:
    found = health_checks(table(arms), PLAN, "observed", None)
    return next(check for check in found if check.name == "outliers")


def analysed(arms: dict[str, np.ndarray]) -> ExperimentResult:
    names = list(arms)
    return analyze(table(arms), PLAN, control=names[0], treatments=names[1:], design="observed")


def primary(arms: dict[str, np.ndarray]) -> MetricComparison:
    return analysed(arms).comparisons[0].metrics[0]


def test_a_rate_of_three_per_cent_has_no_outliers() -> None:
    """The top 1 % of users hold a third of all conversions, because 3 % convert."""
    rng = np.random.default_rng(1)
    arms = {arm: (rng.random(5_000) < 0.03).astype(float) for arm in ("a", "b")}
    found = outliers(arms)
    assert found.status == "pass"
    assert "0 or 1 per user" in check_sentence(found)


def test_a_rare_count_has_none_either_but_a_rare_amount_may() -> None:
    rng = np.random.default_rng(2)
    buys = {arm: (rng.random(5_000) < 0.03).astype(float) for arm in ("a", "b")}
    counts = {arm: own * (1.0 + rng.integers(0, 3, 5_000)) for arm, own in buys.items()}
    assert outliers(counts).status == "pass"
    amounts = {arm: own * rng.lognormal(0.0, 3.0, 5_000) for arm, own in buys.items()}
    assert outliers(amounts).status == "warn"


def test_losses_are_looked_at_without_their_sign() -> None:
    losses = {arm: np.concatenate([np.full(990, -1.0), np.full(10, -1e6)]) for arm in ("a", "b")}
    assert outliers(losses).status == "warn"


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12, -1e12])
def test_an_offset_takes_neither_the_effect_nor_its_error(offset: float) -> None:
    """Exact rational arithmetic is the oracle: the difference and Welch's error of integers."""
    rng = np.random.default_rng(3)
    arms = {"a": rng.integers(0, 7, 300), "b": rng.integers(2, 9, 300)}
    means = {k: Fraction(int(v.sum()), 300) for k, v in arms.items()}
    squares = {k: sum((Fraction(int(x)) - means[k]) ** 2 for x in v) for k, v in arms.items()}
    difference = float(means["b"] - means["a"])
    error = float(sum(squares.values()) / 299 / 300) ** 0.5
    row = primary({k: v + offset for k, v in arms.items()})
    assert row.absolute is not None and row.p_value is not None
    # One rounding of a mean of this size.
    digits = 4.0 * np.spacing(max(abs(offset), 1.0))
    assert row.absolute.value == pytest.approx(difference, abs=digits)
    low = row.absolute.value - row.absolute.low  # type: ignore[operator]
    assert low / 1.9642 == pytest.approx(error, rel=2e-3)


@pytest.mark.parametrize("value", [0.1, 1.0, 1e12, 1e-300, -7.3, 1e15])
def test_what_does_not_vary_is_still_found(value: float) -> None:
    row = primary({"a": np.full(200, value), "b": np.full(300, value)})
    assert row.p_value is None
    assert "does not vary" in row.warnings[0]
    columns = np.column_stack([np.full(200, value), np.ones(200)])
    assert varying({"x": columns}, [X]) == []


def test_one_part_in_a_hundred_million_varies() -> None:
    values = np.tile([1.0, 1.0 + 1e-8], 100)
    columns = np.column_stack([values, np.ones(200)])
    assert varying({"x": columns}, [X]) == [X]
    assert varying({"x": columns + np.array([1e12, 0.0])}, [X]) == []
    columns[:, 0] = 1e12 + np.arange(200) % 7
    assert varying({"x": columns}, [X]) == [X]


@pytest.mark.parametrize("scale", [1.0, 1e9, 1e-9])
def test_a_ratio_that_is_the_same_for_every_user_does_not_vary(scale: float) -> None:
    rng = np.random.default_rng(4)
    arms = []
    for _ in range(2):
        below = rng.lognormal(0.0, 2.0, 500) * scale
        arms.append(Moments.of(np.column_stack([0.37 * below, below])))
    estimates = estimate_arms(arms)
    assert [arm.raw_variance for arm in estimates] == [0.0, 0.0]
    with pytest.raises(StatisticsError, match="does not vary"):
        compare(*estimates)


def test_a_cap_that_too_few_users_reach_leaves_the_row_without_data() -> None:
    """At 200 users per arm two reach the 99 % quantile: there is no figure, and no crash."""
    rng = np.random.default_rng(2)
    arms = {arm: rng.gamma(2.0, 3.0, 200) for arm in ("a", "b")}
    capped = dataclasses.replace(PLAN, metrics={"x": dataclasses.replace(X, cap=0.99)})
    result = analyze(table(arms), capped, control="a", treatments=["b"], design="observed")
    row = result.comparisons[0].metrics[0]
    assert row.outcome == "no data"
    assert row.absolute is None
