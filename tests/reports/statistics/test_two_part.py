"""The two parts against their definitions, regression, Fieller's equation and simulation."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import optimize, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import compare
from reports.statistics.moments import Moments
from reports.statistics.two_part import TwoPart, two_part, two_part_moments


def watch_times(seed: int, share: float, level: float, users: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.binomial(1, share, users) * rng.lognormal(level, 0.8, users)


def decomposed(seed: int, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray, TwoPart]:
    x, y = watch_times(seed, 0.4, 1.0, 900), watch_times(seed + 1, 0.5, 1.1, 700)
    return x, y, two_part(two_part_moments(x), two_part_moments(y), confidence=confidence)


@given(seed=st.integers(0, 2**31))
def test_logs_and_their_variances_add_up(seed: int) -> None:
    _, _, result = decomposed(seed)
    share, intensity, total = (part.logs for part in result[:3])
    assert share.log.value + intensity.log.value == pytest.approx(total.log.value, abs=1e-12)
    squares = share.standard_error**2 + intensity.standard_error**2
    assert squares == pytest.approx(total.standard_error**2, rel=1e-9)
    lifts = (1 + share.lift.value) * (1 + intensity.lift.value) - 1
    assert lifts == pytest.approx(total.lift.value, abs=1e-12)


def test_share_and_total_are_welchs_tests() -> None:
    x, y, result = decomposed(1)
    for part, a, b in ((result.share, x > 0, y > 0), (result.total, x, y)):
        welch = stats.ttest_ind(b.astype(float), a.astype(float), equal_var=False)
        assert part.comparison.p_value == pytest.approx(welch.pvalue, rel=1e-9)
        assert part.control.value == pytest.approx(a.mean(), rel=1e-12)
        assert part.treatment.value == pytest.approx(b.mean(), rel=1e-12)


def test_intensity_is_the_mean_of_the_positive_users() -> None:
    x, y, result = decomposed(2)
    for arm, values in ((result.intensity.control, x), (result.intensity.treatment, y)):
        positive = values[values > 0]
        assert arm.value == pytest.approx(positive.mean(), rel=1e-12)
        # The number of positive users is random; given it, the variance is the usual one.
        n, k = len(values), len(positive)
        expected = positive.var(ddof=1) / k * (k - 1) / k * n / (n - 1)
        assert arm.variance == pytest.approx(expected, rel=1e-9)
    ratio = estimate_arms([two_part_moments(x), two_part_moments(y)])
    assert result.intensity.comparison == compare(*ratio)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_share_of_the_lift_is_where_the_contrast_can_be_zero(confidence: float) -> None:
    """``S - w (S + I) = (1 - w) S - w I`` with uncorrelated S and I."""
    x, y, result = decomposed(3, confidence)
    s, i = result.share.logs, result.intensity.logs
    critical = stats.t.isf((1 - confidence) / 2, len(x) + len(y) - 2)

    def distance(w: float) -> float:
        gap = (1 - w) * s.log.value - w * i.log.value
        spread = ((1 - w) * s.standard_error) ** 2 + (w * i.standard_error) ** 2
        return float(gap**2 - critical**2 * spread)

    value, low, high = result.from_share
    assert value == pytest.approx(s.log.value / (s.log.value + i.log.value), rel=1e-12)
    assert low == pytest.approx(optimize.brentq(distance, value - 5, value, xtol=1e-13), abs=1e-9)
    assert high == pytest.approx(optimize.brentq(distance, value, value + 5, xtol=1e-13), abs=1e-9)


def test_a_lift_that_may_be_zero_has_no_bounded_share() -> None:
    x = watch_times(4, 0.4, 1.0, 900)
    result = two_part(two_part_moments(x[:450]), two_part_moments(x[450:]))
    assert result.total.logs.p_value > 0.05
    assert result.from_share.low is None
    assert result.from_share.high is None


def test_parts_merge() -> None:
    x, y, result = decomposed(5)
    control = two_part_moments(x[:300]).merge(two_part_moments(x[300:]))
    again = two_part(control, two_part_moments(y))
    assert again.total.logs.log == pytest.approx(result.total.logs.log, rel=1e-9)
    assert again.from_share == pytest.approx(result.from_share, rel=1e-9)


def test_known_lifts_are_covered() -> None:
    """Share +10 %, intensity -5 %; 400 experiments."""
    rng = np.random.default_rng(6)
    experiments, users = 400, 800
    truth = np.log([1.1, 0.95, 1.1 * 0.95])
    x = rng.binomial(1, 0.5, (experiments, users)) * rng.gamma(2.0, 2.0, (experiments, users))
    y = rng.binomial(1, 0.55, (experiments, users)) * rng.gamma(2.0, 1.9, (experiments, users))
    covered = np.zeros(3)
    for control, treatment in zip(x, y, strict=True):
        result = two_part(two_part_moments(control), two_part_moments(treatment))
        for row, part in enumerate(result[:3]):
            _, low, high = part.logs.log
            assert low is not None
            assert high is not None
            covered[row] += low <= truth[row] <= high
    # Binomial(400, .95): fewer than 360 once in 10,000.
    assert (covered >= stats.binom.ppf(1e-4, experiments, 0.95)).all()


def test_what_has_no_two_parts_is_an_error() -> None:
    some, none = np.array([0.0, 1.0, 2.0, 4.0]), np.zeros(4)
    with pytest.raises(StatisticsError, match="nobody has a positive value"):
        two_part(two_part_moments(some), two_part_moments(none))
    with pytest.raises(StatisticsError, match="1 of 4"):
        two_part_moments([0.0, -1.0, 2.0, 3.0])
    with pytest.raises(StatisticsError, match=r"share of the two-part lift.*means alone"):
        two_part(two_part_moments(some + 1.0), two_part_moments(some + 2.0))
    flags = np.array([0.0, 1.0, 1.0, 0.0, 0.0])
    with pytest.raises(StatisticsError, match=r"intensity of the two-part lift.*shares alone"):
        two_part(two_part_moments(flags), two_part_moments(1.0 - flags))
    with pytest.raises(StatisticsError, match="missing"):
        two_part_moments([np.nan, 1.0])
    with pytest.raises(StatisticsError, match="two users"):
        two_part(Moments.of([[1.0, 1.0]]), two_part_moments(some))
    same = two_part_moments(some)
    with pytest.raises(StatisticsError, match="both arms are equal"):
        two_part(same, same)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_two_parts_do_not_depend_on_the_unit(scale: float) -> None:
    x, y, plain = decomposed(5)
    found = two_part(two_part_moments(scale * x), two_part_moments(scale * y))
    for part, same in zip(found[:3], plain[:3], strict=True):
        assert part.logs.lift == pytest.approx(same.logs.lift, rel=1e-9)
    assert found.share.control.value == pytest.approx((x > 0.0).mean())
    constant = [two_part_moments(scale * 0.1 * (own > 0.0)) for own in (x, y)]
    with pytest.raises(StatisticsError, match=r"intensity .*does not vary"):
        two_part(*constant)
