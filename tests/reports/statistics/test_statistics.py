"""The numerics against scipy, statsmodels, closed forms and simulation.

Every statistical test has a fixed seed; the comment beside its bound says how often a correct
implementation would miss it for another seed.
"""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import tt_ind_solve_power

from reports.statistics.checks.srm import sample_ratio_p_value
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, adjustment, estimate_arms
from reports.statistics.lift import compare, detectable_difference
from reports.statistics.moments import Moments
from reports.statistics.multiplicity import adjusted_confidence, holm

finite = st.floats(-1e6, 1e6, allow_nan=False)
tables = st.integers(2, 40).flatmap(
    lambda n: hnp.arrays(np.float64, (n, 3), elements=st.floats(-1e4, 1e4))
)


def means(x: np.ndarray, *covariates: np.ndarray) -> Moments:
    """Moments of a mean metric, with covariates."""
    return Moments.of(np.column_stack([x, np.ones(len(x)), *covariates]))


@given(table=tables, cut=st.integers(0, 40))
def test_moments_merge_to_the_whole(table: np.ndarray, cut: int) -> None:
    merged = Moments.of(table[:cut]).merge(Moments.of(table[cut:]))
    whole = Moments.of(table)
    assert merged.users == len(table)
    scale = max(1.0, float(np.abs(table).max()))
    assert merged.mean == pytest.approx(table.mean(axis=0), abs=1e-12 * scale)
    assert merged.cross == pytest.approx(whole.cross, abs=1e-9 * scale**2)
    assert whole.covariance() == pytest.approx(np.cov(table.T), abs=1e-9 * scale**2)


def test_moments_are_stable_far_from_zero() -> None:
    x = np.random.default_rng(1).normal(size=(10_000, 2))
    near, far = Moments.of(x), Moments.of(x + 1e9)
    # A float64 at 1e9 carries steps of 1e-7.
    assert far.covariance() == pytest.approx(near.covariance(), rel=1e-5)


def test_missing_values_are_refused() -> None:
    with pytest.raises(StatisticsError, match="1 of 3 cells"):
        Moments.of([1.0, np.nan, 2.0])


def test_means_are_welchs_test() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.exponential(2.0, 300), rng.exponential(2.3, 170)
    result = compare(*estimate_arms([means(a), means(b)]))
    welch = stats.ttest_ind(b, a, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert result.p_value == pytest.approx(welch.pvalue, rel=1e-9)
    assert result.degrees_of_freedom == pytest.approx(welch.df, rel=1e-9)
    assert result.absolute.low == pytest.approx(interval.low, rel=1e-9)
    assert result.absolute.high == pytest.approx(interval.high, rel=1e-9)


def test_ratio_variance_is_the_linearised_one() -> None:
    rng = np.random.default_rng(3)
    views = rng.poisson(30, 500) + 1.0
    clicks = rng.binomial(views.astype(int), 0.3).astype(float)
    arm = estimate_arms([Moments.of(np.column_stack([clicks, views]))])[0]
    ratio = clicks.sum() / views.sum()
    z = (clicks - ratio * views) / views.mean()
    assert arm.value == pytest.approx(ratio, rel=1e-12)
    assert arm.variance == pytest.approx(z.var(ddof=1) / 500, rel=1e-9)


def test_paired_arms_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(5.0, 2.0, 200)
    b = a + rng.normal(0.1, 0.5, 200)
    covariance = float(np.cov(a, b)[0, 1]) / 200
    result = compare(*estimate_arms([means(a), means(b)]), covariance=covariance, paired=True)
    assert result.p_value == pytest.approx(stats.ttest_rel(b, a).pvalue, rel=1e-9)


def test_cuped_is_regression_within_arms() -> None:
    rng = np.random.default_rng(5)
    n = 400
    arm = np.repeat([0.0, 1.0], n)
    c = rng.gamma(2.0, 1.0, (2 * n, 2))
    y = 3.0 + 0.2 * arm + c @ [1.5, -0.7] + rng.normal(size=2 * n)
    parts = [means(y[arm == g], *c[arm == g].T) for g in (0.0, 1.0)]
    control, treatment = estimate_arms(parts)
    fitted = OLS(y, np.column_stack([np.ones(2 * n), arm, c])).fit()
    # Pooled within-arm slopes are exactly those of the analysis of covariance.
    assert adjustment(parts) == pytest.approx(fitted.params[2:], rel=1e-9)
    assert treatment.adjusted - control.adjusted == pytest.approx(fitted.params[1], rel=1e-9)
    residual = y - c @ fitted.params[2:]
    expected = sum(residual[arm == g].var(ddof=1) / n for g in (0.0, 1.0))
    assert control.variance + treatment.variance == pytest.approx(expected, rel=1e-9)
    assert control.variance < 0.5 * control.raw_variance


def test_constant_or_repeated_covariates_change_nothing() -> None:
    rng = np.random.default_rng(6)
    y, c = rng.normal(size=(2, 100)), rng.normal(size=(2, 100))
    plain = estimate_arms([means(y[i], c[i]) for i in range(2)])
    padded = estimate_arms([means(y[i], c[i], 2 * c[i], np.full(100, 7.0)) for i in range(2)])
    for first, second in zip(plain, padded, strict=True):
        assert second.adjusted == pytest.approx(first.adjusted, abs=1e-9)
        assert second.variance == pytest.approx(first.variance, rel=1e-9)


def arm(value: float, variance: float, users: int = 1_000) -> ArmEstimate:
    return ArmEstimate(users, value, value, variance, variance)


@given(
    a=st.floats(0.5, 10.0),
    b=st.floats(0.5, 10.0),
    va=st.floats(1e-4, 1e-2),
    vb=st.floats(1e-4, 1e-2),
    confidence=st.floats(0.8, 0.999),
)
def test_both_intervals_invert_the_one_test(
    a: float, b: float, va: float, vb: float, confidence: float
) -> None:
    result = compare(arm(a, va), arm(b, vb), confidence=confidence)
    assert result.absolute.low is not None
    assert result.absolute.high is not None
    alpha = 1.0 - confidence
    if abs(result.p_value - alpha) < 1e-9:
        return
    significant = result.p_value < alpha
    assert significant == (result.absolute.low > 0 or result.absolute.high < 0)
    if result.relative is not None and result.relative.low is not None:
        assert result.relative.high is not None
        assert significant == (result.relative.low > 0 or result.relative.high < 0)


def test_fieller_bounds_are_where_the_ratio_is_just_not_rejected() -> None:
    control, treatment = arm(2.0, 0.01), arm(2.3, 0.02)
    result = compare(control, treatment)
    critical = stats.t.isf(0.025, result.degrees_of_freedom)

    def distance(ratio: float) -> float:
        gap = treatment.value - ratio * control.value
        return gap**2 - critical**2 * (treatment.variance + ratio**2 * control.variance)

    low = optimize.brentq(distance, 0.5, 1.15) - 1.0
    high = optimize.brentq(distance, 1.15, 2.0) - 1.0
    assert result.relative is not None
    assert result.relative.low == pytest.approx(low, abs=1e-9)
    assert result.relative.high == pytest.approx(high, abs=1e-9)


def test_control_near_zero_has_no_relative_interval() -> None:
    result = compare(arm(0.01, 0.01), arm(1.0, 0.01))
    assert result.control_too_noisy
    assert result.relative is not None
    assert result.relative.low is None


def test_no_variance_is_an_error_not_an_effect_of_zero() -> None:
    with pytest.raises(StatisticsError, match="does not vary"):
        compare(arm(1.0, 0.0), arm(1.0, 0.0))
    with pytest.raises(StatisticsError, match="no denominator"):
        estimate_arms([Moments.of([[1.0, 0.0], [2.0, 0.0]])])
    with pytest.raises(StatisticsError, match="two users"):
        estimate_arms([Moments.of([[1.0, 1.0]])])


# A call of statsmodels takes a third of a second.
@settings(max_examples=8, deadline=None)
@given(st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=12))
def test_holm_is_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.floats(1e-9, 0.9), min_size=2, max_size=8))
def test_adjusted_intervals_agree_with_adjusted_p(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        level = adjusted_confidence(p, adjusted, len(p_values))
        if abs(adjusted - 0.05) > 1e-9:
            assert (p < 1.0 - level) == (adjusted < 0.05)


def test_sample_ratio_is_exact_for_two_arms_and_chi_square_for_more() -> None:
    expected = stats.binomtest(10_412, 20_000, 0.5).pvalue
    assert sample_ratio_p_value([10_412, 9_588], [0.5, 0.5]) == pytest.approx(expected)
    three = stats.chisquare([400, 300, 310], [1010 * s for s in (0.4, 0.3, 0.3)]).pvalue
    assert sample_ratio_p_value([400, 300, 310], [4, 3, 3]) == pytest.approx(three)


def test_the_detectable_difference_is_the_power_of_statsmodels() -> None:
    rng = np.random.default_rng(7)
    control, treatment = (means(rng.gamma(2.0, 3.0, 5_000)) for _ in range(2))
    arms = estimate_arms([control, treatment])
    result = compare(*arms)
    deviation = np.sqrt((arms[0].variance + arms[1].variance) / 2 * 5_000)
    for alpha, power in ((0.05, 0.8), (0.01, 0.8), (0.05, 0.9)):
        named = {k: v for k, v in (("alpha", alpha), ("power", power)) if v not in (0.05, 0.8)}
        found = detectable_difference(result.standard_error, **named)
        expected = tt_ind_solve_power(nobs1=5_000, alpha=alpha, power=power) * deviation
        assert found == pytest.approx(expected, rel=1e-3)


def watch_time(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Zero for 40 % of people, log-normal for the others, like comment watch time."""
    return rng.binomial(1, 0.6, shape) * rng.lognormal(3.0, 1.2, shape)


def test_intervals_cover_and_p_values_are_uniform() -> None:
    """A/A: 2,000 experiments of 2 x 1,000 people with a pre-period covariate."""
    rng = np.random.default_rng(8)
    p_values, covered = [], 0
    for _ in range(2_000):
        before = watch_time(rng, (2, 1_000))
        after = 0.7 * before + watch_time(rng, (2, 1_000))
        result = compare(*estimate_arms([means(after[i], before[i]) for i in range(2)]))
        p_values.append(result.p_value)
        covered += result.relative is not None and result.relative.low < 0 < result.relative.high  # type: ignore[operator]
    # Binomial(2,000, .95): three standard deviations are 1.5 points (error rate 0.3 %).
    assert abs(covered / 2_000 - 0.95) < 0.015
    # Kolmogorov-Smirnov at 1 in 1,000.
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_relative_interval_covers_a_known_lift() -> None:
    """+4 % on a clustered ratio, 1:3 split, 1,500 experiments."""
    rng = np.random.default_rng(9)
    covered = 0
    for _ in range(1_500):
        parts = []
        for users, rate in ((300, 0.25), (900, 0.26)):
            own = rng.beta(rate * 20, (1 - rate) * 20, users)
            views = rng.poisson(40.0, users) + 1
            parts.append(Moments.of(np.column_stack([rng.binomial(views, own), views])))
        relative = compare(*estimate_arms(parts)).relative
        assert relative is not None
        assert relative.low is not None
        assert relative.high is not None
        covered += relative.low < 0.04 < relative.high
    # Three standard deviations of Binomial(1,500, .95) are 1.7 points.
    assert abs(covered / 1_500 - 0.95) < 0.017


def test_a_metric_that_its_covariates_determine_has_no_p_value() -> None:
    rng = np.random.default_rng(31)
    before = [rng.lognormal(0.0, 1.0, n) for n in (300, 400)]
    arms = estimate_arms([means(2.0 * x + 1.0, x) for x in before])
    with pytest.raises(StatisticsError, match="covariates determine") as caught:
        compare(*arms)
    assert caught.value.problem and caught.value.detail and caught.value.hint
    nearly = [means(2.0 * x + rng.normal(0.0, 1e-4, len(x)), x) for x in before]
    assert 0.0 < compare(*estimate_arms(nearly)).p_value < 1.0
