"""Daily, cumulative and sloping effects against user-level tests and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import compare
from reports.statistics.moments import Moments
from reports.statistics.novelty import (
    cumulative_comparisons,
    cumulative_estimates,
    daily_comparisons,
    daily_moments,
    effect_trend,
)

DAYS = 10


def people(
    rng: np.random.Generator, users: int, effect: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Watch time and visits per day: people differ, and today resembles yesterday."""
    habit = rng.gamma(4.0, 1.0, (users, 1))
    mood = rng.normal(0, 0.3, (users, DAYS)).cumsum(axis=1)
    visits = rng.poisson(3.0, (users, DAYS)) + 1.0
    time = habit * visits * np.exp(0.2 * mood + rng.normal(0, 0.3, (users, DAYS)))
    return time * (1.0 + np.asarray(effect)), visits


def test_slope_of_absolute_means_is_welchs_test_of_the_users_own_slopes() -> None:
    rng = np.random.default_rng(71)
    x, y = people(rng, 200)[0], people(rng, 150)[0]
    result = effect_trend(daily_moments(x), daily_moments(y), DAYS, relative=False)
    at = np.arange(DAYS) - np.arange(DAYS).mean()
    own = [table @ at / (at @ at) for table in (x, y)]
    welch = stats.ttest_ind(own[1], own[0], equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert result.p_value == pytest.approx(welch.pvalue, rel=1e-9)
    assert result.degrees_of_freedom == pytest.approx(welch.df, rel=1e-9)
    assert result.slope.low == pytest.approx(interval.low, rel=1e-9)
    assert result.slope.high == pytest.approx(interval.high, rel=1e-9)
    fitted = np.polynomial.Polynomial.fit(np.arange(DAYS), y.mean(axis=0) - x.mean(axis=0), 1)
    assert result.first == pytest.approx(fitted(0.0), rel=1e-9)
    assert result.last == pytest.approx(fitted(DAYS - 1.0), rel=1e-9)


def test_slope_with_a_covariate_is_the_regression_of_the_users_slopes() -> None:
    rng = np.random.default_rng(72)
    before = rng.gamma(2.0, 1.0, (400, 1))
    x = people(rng, 400)[0] + before * np.arange(DAYS)
    arm = np.repeat([0.0, 1.0], 200)
    first, second = (daily_moments(x[arm == g], covariates=before[arm == g]) for g in (0.0, 1.0))
    result = effect_trend(first, second, DAYS, relative=False)
    first, second = (daily_moments(x[arm == g]) for g in (0.0, 1.0))
    plain = effect_trend(first, second, DAYS, relative=False)
    at = np.arange(DAYS) - np.arange(DAYS).mean()
    fitted = OLS(x @ at / (at @ at), np.column_stack([np.ones(400), arm, before])).fit()
    assert result.slope.value == pytest.approx(fitted.params[1], rel=1e-9)
    # The regression pools the arms' variances and counts the covariate.
    assert result.standard_error == pytest.approx(fitted.bse[1], rel=0.02)
    assert result.standard_error < 0.7 * plain.standard_error


def test_days_and_cumulated_days_are_the_ordinary_comparison() -> None:
    rng = np.random.default_rng(73)
    (x, v), (y, w) = people(rng, 300), people(rng, 200, 0.1)
    before = [rng.gamma(2.0, 1.0, (n, 1)) for n in (300, 200)]
    arms = (daily_moments(x, v, before[0]), daily_moments(y, w, before[1]))
    daily = daily_comparisons(*arms, DAYS)
    cumulated = cumulative_comparisons(*arms, DAYS)
    assert len(daily) == len(cumulated) == DAYS
    for day in (0, 4, 9):
        tables = [
            np.column_stack([a[:, day], b[:, day], c])
            for a, b, c in ((x, v, before[0]), (y, w, before[1]))
        ]
        expected = compare(*estimate_arms([Moments.of(table) for table in tables]))
        assert daily[day].p_value == pytest.approx(expected.p_value, rel=1e-8)
        tables = [
            np.column_stack([a[:, : day + 1].sum(axis=1), b[:, : day + 1].sum(axis=1), c])
            for a, b, c in ((x, v, before[0]), (y, w, before[1]))
        ]
        expected = compare(*estimate_arms([Moments.of(table) for table in tables]))
        assert cumulated[day].p_value == pytest.approx(expected.p_value, rel=1e-8)
        assert cumulated[day].absolute == pytest.approx(expected.absolute, rel=1e-8)
    assert cumulative_estimates(*arms, DAYS)[-1][0].users == 300


def test_the_slope_of_lifts_is_covered_where_independent_days_are_not() -> None:
    """A lift of 12 % falling by 1 % a day; 600 experiments of a ratio, 1:2 split."""
    rng = np.random.default_rng(74)
    lifts = 0.12 - 0.01 * np.arange(DAYS)
    at = np.arange(DAYS) - np.arange(DAYS).mean()
    covered = naive = 0
    for _ in range(600):
        arms = (daily_moments(*people(rng, 200)), daily_moments(*people(rng, 400, lifts)))
        trend = effect_trend(*arms, DAYS)
        assert trend.slope.low is not None
        assert trend.slope.high is not None
        covered += trend.slope.low < -0.01 < trend.slope.high
        errors = np.array([c.standard_error for c in daily_comparisons(*arms, DAYS)])
        values = np.array([arms[0].mean[2 * d] / arms[0].mean[2 * d + 1] for d in range(DAYS)])
        alone = np.sqrt(((at / (at @ at)) ** 2) @ (errors / values) ** 2)
        naive += abs(trend.slope.value + 0.01) < 1.96 * alone
    # Three standard errors of Binomial(600, .95) are 2.7 points.
    assert abs(covered / 600 - 0.95) < 0.027
    # As if days were independent: far too wide, because most of the noise is the people's.
    assert naive / 600 > 0.975


def test_error_of_a_slope_of_large_lifts_is_the_jackknifes() -> None:
    rng = np.random.default_rng(78)
    (x, v), (y, w) = people(rng, 150), people(rng, 120, 2.0 - 0.1 * np.arange(DAYS))
    whole = (daily_moments(x, v), daily_moments(y, w))
    total = 0.0
    for side, (table, visits) in enumerate(((x, v), (y, w))):
        n = len(table)
        values = []
        for one in range(n):
            arms = list(whole)
            arms[side] = daily_moments(np.delete(table, one, 0), np.delete(visits, one, 0))
            values.append(effect_trend(arms[0], arms[1], DAYS).slope.value)
        total += (n - 1) / n * ((np.array(values) - np.mean(values)) ** 2).sum()
    result = effect_trend(*whole, DAYS)
    assert result.standard_error == pytest.approx(total**0.5, rel=0.02)


def test_slopes_are_uniform_when_the_effect_is_steady() -> None:
    rng = np.random.default_rng(75)
    p_values = []
    for _ in range(500):
        arms = (daily_moments(*people(rng, 150)), daily_moments(*people(rng, 150, 0.2)))
        p_values.append(effect_trend(*arms, DAYS, time="log").p_value)
    # Kolmogorov-Smirnov at 1 in 1,000.
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_log_time_finds_what_wears_off_fast() -> None:
    rng = np.random.default_rng(76)
    fading = 0.2 - 0.08 * np.log1p(np.arange(DAYS))
    arms = (daily_moments(*people(rng, 20_000)), daily_moments(*people(rng, 20_000, fading)))
    log = effect_trend(*arms, DAYS, time="log")
    assert log.slope.value == pytest.approx(-0.08, abs=4 * log.standard_error)
    assert log.p_value < 1e-6
    assert log.first == pytest.approx(0.2, abs=0.03)


def test_what_has_no_trend_is_refused() -> None:
    rng = np.random.default_rng(77)
    arm = daily_moments(*people(rng, 20))
    with pytest.raises(StatisticsError, match="two days"):
        effect_trend(arm, arm, 1)
    with pytest.raises(StatisticsError, match="do not fit"):
        effect_trend(arm, arm, DAYS + 1)
    silent = daily_moments(np.ones((5, 3)), np.eye(5)[:, :3] * [1, 1, 0])
    with pytest.raises(StatisticsError, match=r"day 2: the ratio has no denominator"):
        effect_trend(silent, silent, 3)
    constant = daily_moments(np.ones((5, 3)))
    with pytest.raises(StatisticsError, match="day 0: the metric does not vary"):
        daily_comparisons(constant, constant, 3)
    with pytest.raises(StatisticsError, match="does not vary"):
        effect_trend(constant, constant, 3)
    zero = daily_moments(rng.normal(size=(20, 3)) * [1, 0, 1])
    with pytest.raises(StatisticsError, match="day 1 has no relative effect"):
        effect_trend(zero, zero, 3)
