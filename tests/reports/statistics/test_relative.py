"""Relative lifts against closed forms, statsmodels' regression and normal means."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import compare
from reports.statistics.moments import Moments
from reports.statistics.relative import LOG_LIMIT, Method, log_lift, relative_lift


def arm(value: float, variance: float, users: int = 1_000) -> ArmEstimate:
    return ArmEstimate(users, value, value, variance, variance)


def means(x: np.ndarray) -> Moments:
    return Moments.of(np.column_stack([x, np.ones(len(x))]))


def test_log_lift_is_welchs_test_of_linearised_logs() -> None:
    """``log a + (x - a) / a`` has the mean log a and the delta method's variance."""
    rng = np.random.default_rng(1)
    x, y = rng.gamma(2.0, 3.0, 400), rng.gamma(2.0, 3.3, 300)
    lines = [np.log(v.mean()) + v / v.mean() - 1.0 for v in (x, y)]
    expected = stats.ttest_ind(lines[1], lines[0], equal_var=False)
    bounds = expected.confidence_interval(0.9)
    result = log_lift(*estimate_arms([means(x), means(y)]), confidence=0.9)
    assert result.log == pytest.approx((np.log(y.mean() / x.mean()), *bounds), rel=1e-9)
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert result.degrees_of_freedom == pytest.approx(expected.df, rel=1e-9)
    assert result.lift == pytest.approx(np.expm1(np.array(result.log)), rel=1e-12)
    descriptions = CompareMeans(DescrStatsW(lines[1]), DescrStatsW(lines[0]))
    error = descriptions.std_meandiff_separatevar
    assert result.standard_error == pytest.approx(error, rel=1e-9)


def test_paired_log_lift_is_the_paired_test() -> None:
    rng = np.random.default_rng(2)
    x = rng.gamma(4.0, 1.0, 200)
    y = x * rng.gamma(20.0, 0.055, 200)
    covariance = float(np.cov(x, y)[0, 1]) / 200
    result = log_lift(*estimate_arms([means(x), means(y)]), covariance=covariance, paired=True)
    pairs = np.log(y.mean() / x.mean()) + y / y.mean() - x / x.mean()
    assert result.p_value == pytest.approx(stats.ttest_1samp(pairs, 0.0).pvalue, rel=1e-9)


values = st.floats(0.5, 10.0)
# At most 10 % noise of any of the values.
variances = st.floats(1e-6, 2.4e-3)


@given(a=values, b=values, va=variances, vb=variances, confidence=st.floats(0.5, 0.999))
def test_intervals_invert_their_p_value(
    a: float, b: float, va: float, vb: float, confidence: float
) -> None:
    method: Method
    for method in ("fieller", "log"):
        result = relative_lift(arm(a, va), arm(b, vb), method=method, confidence=confidence)
        assume(abs(result.p_value - (1.0 - confidence)) > 1e-9)
        _, low, high = result.interval
        assert low is not None
        assert high is not None
        assert (result.p_value < 1.0 - confidence) == (low > 0.0 or high < 0.0)
        assert low <= result.interval.value <= high


@given(a=values, b=values, va=variances, vb=variances, factor=st.floats(1e-3, 1e3))
def test_lifts_do_not_depend_on_the_unit(
    a: float, b: float, va: float, vb: float, factor: float
) -> None:
    method: Method
    for method in ("fieller", "log"):
        plain = relative_lift(arm(a, va), arm(b, vb), method=method)
        scaled = relative_lift(
            arm(factor * a, factor**2 * va), arm(factor * b, factor**2 * vb), method=method
        )
        assert scaled.interval == pytest.approx(plain.interval, rel=1e-8, abs=1e-10)
        assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-6, abs=1e-12)


@given(a=values, b=values, va=variances, vb=variances)
def test_log_lift_turns_round_with_the_arms(a: float, b: float, va: float, vb: float) -> None:
    there, back = log_lift(arm(a, va), arm(b, vb)), log_lift(arm(b, vb), arm(a, va))
    assert there.log.low is not None
    assert there.log.high is not None
    turned = (-there.log.value, -there.log.high, -there.log.low)
    assert back.log == pytest.approx(turned, abs=1e-12)


def test_fieller_is_that_of_the_comparison() -> None:
    control, treatment = arm(2.0, 0.01), arm(2.3, 0.02)
    expected = compare(control, treatment, covariance=0.003)
    result = relative_lift(control, treatment, covariance=0.003)
    assert result.interval == expected.relative
    assert result.p_value == expected.p_value
    assert result.control_noise == pytest.approx(0.05)
    assert result.treatment_noise == pytest.approx(np.sqrt(0.02) / 2.3)


def test_noise_decides_what_to_trust() -> None:
    noisy, quiet, silent = arm(1.0, 0.15**2), arm(1.0, 0.05**2), arm(1.0, 0.6**2)
    assert relative_lift(quiet, quiet).trust == "good"
    assert relative_lift(noisy, quiet).trust == "fieller only"
    assert relative_lift(quiet, noisy).trust == "fieller only"
    assert relative_lift(quiet, arm(-1.0, 0.01)).trust == "fieller only"
    none = relative_lift(silent, quiet)
    assert none.trust == "too noisy"
    assert none.interval == (0.0, None, None)
    with pytest.raises(StatisticsError, match=r"15% and 5% of the means 1 and 1.*Use Fieller's"):
        relative_lift(noisy, quiet, method="log")
    with pytest.raises(StatisticsError, match="absolute difference"):
        relative_lift(silent, quiet, method="log")
    with pytest.raises(StatisticsError, match="control is zero"):
        relative_lift(arm(0.0, 0.1), quiet)
    with pytest.raises(StatisticsError, match="both must be positive"):
        log_lift(arm(-1.0, 0.1), quiet)
    with pytest.raises(StatisticsError, match="does not vary"):
        log_lift(arm(1.0, 0.0), arm(1.0, 0.0))
    assert relative_lift(quiet, arm(0.0, 0.01)).treatment_noise == np.inf


@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_log_interval_covers_as_promised_at_the_limit(ratio: float) -> None:
    """Normal means, the control at the limit of noise, the treatment at half or all of it."""
    rng = np.random.default_rng(3)
    draws = 200_000
    a = 1.0 + LOG_LIMIT * rng.normal(size=draws)
    b = 1.0 + ratio * LOG_LIMIT * rng.normal(size=draws)
    z = np.log(b / a) / np.hypot(LOG_LIMIT / a, ratio * LOG_LIMIT / b)
    example = log_lift(arm(a[0], LOG_LIMIT**2, 10**9), arm(b[0], (ratio * LOG_LIMIT) ** 2, 10**9))
    assert example.log.value / example.standard_error == pytest.approx(z[0], rel=1e-9)
    critical = stats.norm.isf(0.025)
    # Five standard deviations of the simulation are .0024 and .0021.
    assert 0.9476 < np.mean(np.abs(z) < critical) < 0.9644
    assert max(np.mean(z > critical), np.mean(z < -critical)) < 0.0381


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-0.5, 1.0), (1.0, 0.0), (1.0, -0.5)])
def test_a_mean_that_is_not_positive_has_no_logarithm(a: float, b: float) -> None:
    with pytest.raises(StatisticsError, match="no logarithm"):
        log_lift(arm(a, 0.01), arm(b, 0.01))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_bounds_of_pairs_are_the_lifts_that_the_paired_test_does_not_reject(
    sign: float, confidence: float
) -> None:
    """At a bound R the paired t test of ``y - (1 + R) x`` has p = 1 - confidence."""
    rng = np.random.default_rng(12)
    x = sign * (5.0 + rng.gamma(2.0, 3.0, 150))
    y = 1.1 * x + rng.normal(0.0, 4.0, 150)
    covariance = float(np.cov(x, y)[0, 1]) / 150
    arms = estimate_arms([means(x), means(y)])
    found = compare(*arms, covariance=covariance, paired=True, confidence=confidence)
    assert found.relative is not None
    assert found.relative.low is not None and found.relative.high is not None
    assert found.relative.low < found.relative.value < found.relative.high
    for bound in found.relative[1:]:
        p = stats.ttest_1samp(y - (1.0 + bound) * x, 0.0).pvalue  # type: ignore[operator]
        assert p == pytest.approx(1.0 - confidence, rel=1e-9)


def test_a_control_of_zero_is_too_noisy_for_any_lift() -> None:
    found = compare(arm(0.0, 0.0), arm(1.0, 0.01))
    assert found.relative is None and found.control_too_noisy
    found = compare(arm(0.1, 0.01), arm(1.0, 0.01))
    assert found.relative is not None and found.control_too_noisy
    assert (found.relative.low, found.relative.high) == (None, None)
