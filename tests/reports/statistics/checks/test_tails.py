"""The heavy-tail rule against scipy's skewness, exact third moments and simulated coverage."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reports.statistics.checks.tails import (
    Spread,
    linear_parts,
    linearised,
    shortfall,
    tail_risk,
    tail_risk_of_pairs,
    third_cumulants,
)
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.moments import Moments


def test_distortion_is_the_skewness_of_the_difference() -> None:
    """Gamma means: their third cumulants are known."""
    rng = np.random.default_rng(1)
    x, y = rng.gamma(2.0, 3.0, 400_000), rng.gamma(2.0, 3.0, 100_000)
    found = tail_risk(x, y)
    skewness = 2.0 / np.sqrt(2.0)
    # Its sampling error is .0085 here; four of them.
    assert found.skewness == pytest.approx(skewness, abs=0.034)
    expected = skewness * (1e-10 - 1.0 / 16e10) / (1e-5 + 0.25e-5) ** 1.5
    assert found.distortion == pytest.approx(expected, rel=0.03)
    assert found.smallest == 100_000


def test_skewness_of_equal_arms_is_scipys_and_cancels() -> None:
    rng = np.random.default_rng(2)
    x = rng.lognormal(0.0, 1.0, 500)
    found = tail_risk(x, 3.0 * x)
    assert found.skewness == pytest.approx(stats.skew(x), rel=1e-9)
    # Three times the control: the difference is lopsided, the lift is not.
    assert found.distortion == pytest.approx(
        stats.skew(x) / np.sqrt(500) * (27 - 1) / 10**1.5, rel=1e-9
    )
    assert tail_risk(x, x).distortion == 0.0
    assert not tail_risk(x, x).warns
    assert tail_risk(x, x).sentence() == ""
    lift = tail_risk(x, x, lift=1.0)
    assert lift.distortion == pytest.approx(-stats.skew(x) / np.sqrt(500) * 7 / 5**1.5, rel=1e-9)


def test_shortfall_is_halls_expansion() -> None:
    """Exponential values, n = 100: the one-sample t interval by simulation.

    200,000 experiments: four standard deviations of the coverage are .0022.
    """
    rng = np.random.default_rng(3)
    n, runs = 100, 200_000
    critical = stats.t.isf(0.025, n - 1)
    covered = 0
    for _ in range(10):
        x = rng.exponential(1.0, (runs // 10, n))
        t = (x.mean(axis=1) - 1.0) / (x.std(axis=1, ddof=1) / np.sqrt(n))
        covered += int((np.abs(t) < critical).sum())
    # Skewness 2; the term of the kurtosis (6) that the rule leaves out is added here.
    z = stats.norm.isf(0.025)
    kurtosis = z * stats.norm.pdf(z) * (z**2 - 3.0) / 6.0 * 6.0 / n
    expected = 0.95 - shortfall(2.0 / np.sqrt(n)) + kurtosis
    assert covered / runs == pytest.approx(expected, abs=0.0022)


def test_linearised_values_have_the_variance_of_the_estimate() -> None:
    rng = np.random.default_rng(4)
    arms = []
    for n in (300, 200):
        before = rng.gamma(2.0, 1.0, n)
        views = rng.poisson(20.0, n) + 1.0
        arms.append(np.column_stack([0.3 * views + before + rng.normal(size=n), views, before]))
    estimates = estimate_arms([Moments.of(arm) for arm in arms])
    for values, estimate in zip(linearised(arms), estimates, strict=True):
        assert values.mean() == pytest.approx(0.0, abs=1e-12)
        assert values.var(ddof=1) / len(values) == pytest.approx(estimate.variance, rel=1e-9)


def test_the_warning_says_what_to_expect() -> None:
    rng = np.random.default_rng(5)
    x = rng.binomial(1, 0.6, 4_500) * rng.lognormal(3.0, 1.2, 4_500)
    found = tail_risk(x, x[:500])
    assert found.warns
    assert found.predicted < 0.94
    assert "500 users in the smaller arm" in found.sentence()
    assert "capped" in found.sentence()
    # What is promised and what is covered never look the same.
    for confidence in (0.95, 0.985, 0.994, 0.9994):
        for size in (40, 400, 4_000):
            risk = tail_risk_of_pairs(x[:size], confidence=confidence)
            if risk.warns:
                promised, covered = re.findall(r"([\d.]+) %", risk.sentence())
                assert float(promised) > float(covered), risk.sentence()
                assert f"{min(size, len(x)):,} pairs" in risk.sentence()
                assert "arm" not in risk.sentence()
    assert not tail_risk(np.tile(x, 20), np.tile(x[:500], 20)).warns


def test_what_has_no_tail_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="does not vary"):
        tail_risk([1.0, 1.0], [2.0, 2.0])
    with pytest.raises(StatisticsError, match="at least two"):
        tail_risk([1.0], [2.0, 3.0])
    with pytest.raises(StatisticsError, match="missing"):
        tail_risk([1.0, np.nan], [2.0, 3.0])
    with pytest.raises(StatisticsError, match="denominator"):
        linearised([[[1.0, 0.0], [2.0, 0.0]]])
    one = tail_risk([1.0, 1.0], [2.0, 3.0])
    assert one.distortion == pytest.approx(0.0)


def test_pairs_are_one_sample() -> None:
    """Coverage of the paired t interval is what the rule predicts: binomial error, z = 4."""
    random = np.random.default_rng(11)
    n, replicates = 60, 4_000
    draws = random.exponential(size=(replicates, n)) - 1.0
    half = stats.t.ppf(0.975, n - 1) * draws.std(axis=1, ddof=1) / np.sqrt(n)
    covered = float((np.abs(draws.mean(axis=1)) <= half).mean())
    predicted = 0.95 - shortfall(2.0 / np.sqrt(n))
    assert abs(covered - predicted) < 4.0 * np.sqrt(0.95 * 0.05 / replicates)
    risk = tail_risk_of_pairs(random.exponential(size=40))
    assert risk.warns and risk.smallest == 40
    assert not tail_risk_of_pairs(random.exponential(size=40_000)).warns
    with pytest.raises(StatisticsError, match="does not vary"):
        tail_risk_of_pairs(np.ones(10))


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    far=st.sampled_from([0.0, 1e3]),
)
def test_centred_sums_merge_to_those_of_all_users(seed: int, cuts: list[int], far: float) -> None:
    x = far + np.random.default_rng(seed).lognormal(0.0, 1.0, 40)
    merged = Spread.of([])
    for part in np.split(x, sorted(cuts)):
        merged = merged.merge(Spread.of(part))
    centred = x - x.mean()
    assert merged.users == 40
    assert merged.mean == pytest.approx(x.mean(), rel=1e-12)
    assert merged.squares == pytest.approx((centred**2).sum(), rel=1e-9)
    assert merged.cubes == pytest.approx((centred**3).sum(), rel=1e-8, abs=1e-8)


def test_spreads_are_judged_as_their_values() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.lognormal(0.0, 2.0, 900), rng.lognormal(0.0, 2.0, 100)
    assert tail_risk(Spread.of(x), Spread.of(y), lift=0.2) == tail_risk(x, y, lift=0.2)
    assert third_cumulants(Spread.of(x), y) == third_cumulants(x, y)
    assert tail_risk_of_pairs(Spread.of(x)) == tail_risk_of_pairs(x)


def test_linear_parts_read_block_by_block_what_linearised_holds() -> None:
    rng = np.random.default_rng(6)
    arms = [rng.gamma(2.0, 1.0, (n, 4)) for n in (300, 200)]
    whole = linearised(arms)
    parts = linear_parts([Moments.of(arm) for arm in arms])
    for arm, part, values in zip(arms, parts, whole, strict=True):
        found = np.concatenate([part.of(block) for block in np.array_split(arm, 7)])
        assert found == pytest.approx(values, abs=1e-12)
    with pytest.raises(StatisticsError, match="no denominator"):
        linear_parts([Moments.of(np.zeros((3, 2)))])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_pairs_have_the_skewness_of_scipy_in_any_unit(scale: float) -> None:
    x = scale * np.random.default_rng(12).exponential(size=70)
    found = tail_risk_of_pairs(x)
    assert found.skewness == pytest.approx(stats.skew(x), rel=1e-9)
    assert found.distortion == pytest.approx(stats.skew(x) / np.sqrt(70), rel=1e-9)
    assert tail_risk_of_pairs(scale * np.array([1.0, 3.0])).skewness == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_third_cumulants_are_third_moments_over_the_square_of_users(scale: float) -> None:
    """Arms of one shape: the third central moment of each over n^2."""
    x = np.random.default_rng(13).exponential(size=90)
    a, b = third_cumulants(scale * x, np.tile(3.0 * scale * x, 2))
    moment = float(((x - x.mean()) ** 3).mean())
    assert a == pytest.approx(scale**3 * moment / 90**2, rel=1e-9)
    assert b == pytest.approx((3.0 * scale) ** 3 * moment / 180**2, rel=1e-9)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_what_one_tail_errs_more_is_halls_first_term(confidence: float) -> None:
    """Hall 1992, section 2.6: ``phi(z) (2 z^2 + 1) rho / 6``."""
    x = np.random.default_rng(14).exponential(size=200)
    found = tail_risk(x, x[:40], confidence=confidence)
    z = stats.norm.isf((1.0 - confidence) / 2.0)
    expected = stats.norm.pdf(z) * (2.0 * z**2 + 1.0) * abs(found.distortion) / 6.0
    assert found.lopsided == pytest.approx(expected, rel=1e-9)


def test_no_coverage_is_below_zero() -> None:
    """One user of 4,000 holds everything, beside 12 of whom one does."""
    found = tail_risk(np.eye(1, 4_000)[0], np.eye(1, 12)[0], confidence=0.999)
    assert shortfall(found.distortion, 0.999) > 0.999
    assert found.predicted == 0.0


def test_a_numerator_of_zero_is_no_missing_denominator() -> None:
    silent = Moments.of(np.column_stack([np.zeros(5), np.ones(5)]))
    assert len(linear_parts([silent, silent])) == 2
    with pytest.raises(StatisticsError, match="no denominator"):
        linear_parts([silent, Moments.of(np.column_stack([np.ones(5), np.zeros(5)]))])


def test_a_treatment_that_is_zero_for_all_has_the_tail_of_the_control() -> None:
    x = np.random.default_rng(15).exponential(size=90)
    found = tail_risk(x, np.zeros(90), lift=-1.0)
    assert found.distortion == pytest.approx(-stats.skew(x) / np.sqrt(90), rel=1e-9)
