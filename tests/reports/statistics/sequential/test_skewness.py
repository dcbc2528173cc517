"""Hall's transformation against its inverse, simulated means and Fieller's interval."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from reports.statistics.checks.tails import tail_risk, third_cumulants
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import fieller_bounds
from reports.statistics.moments import Moments
from reports.statistics.sequential.group_inference import group_looks
from reports.statistics.sequential.group_sequential import GroupSequential
from reports.statistics.sequential.skewness import (
    NORMAL,
    hall,
    hall_inverse,
    lift_bounds,
    skewness_of_difference,
)


def arm(value: float, variance: float) -> ArmEstimate:
    return ArmEstimate(1_000, value, value, variance, variance)


# At T = -3 / rho the transformation is flat: no inverse has its digits there.
@given(t=st.floats(-8, 8), rho=st.floats(-0.35, 0.35))
def test_the_inverse_is_the_inverse(t: float, rho: float) -> None:
    assert hall_inverse(float(hall(t, rho)), rho) == pytest.approx(t, abs=1e-9)
    assert float(hall(t + 0.01, rho)) >= float(hall(t, rho))
    assert float(hall(-t, -rho)) == -float(hall(t, rho))
    assert float(hall(t, 0.0)) == t


@pytest.mark.parametrize("z", [-3.0, 2.0])
def test_no_digits_are_lost_where_there_is_almost_no_skewness(z: float) -> None:
    for rho in (1e-6, 3e-6, -3e-6):
        assert float(hall(hall_inverse(z, rho), rho)) == pytest.approx(z, rel=1e-14, abs=0)


def test_both_tails_of_a_skewed_mean_err_alike() -> None:
    """Exponential values, n = 60: plain t errs in 1.3 and 5 % a side, it should in 2.5.

    100,000 experiments: four standard deviations are .2 %.
    """
    rng = np.random.default_rng(4)
    x = rng.exponential(1.0, (100_000, 60))
    deviation = x.std(axis=1)
    t = (x.mean(axis=1) - 1.0) / (deviation / np.sqrt(60))
    rho = 2.0 / np.sqrt(60)
    critical = stats.norm.isf(0.025)
    plain = [float((t > critical).mean()), float((t < -critical).mean())]
    z = hall(t, rho)
    corrected = [float((z > critical).mean()), float((z < -critical).mean())]
    assert plain[0] < 0.0145
    assert plain[1] > 0.045
    # What is left is of the order rho^2 / 10 = .7 %.
    assert corrected == pytest.approx([0.025, 0.025], abs=0.007)


def test_third_cumulants_are_those_that_tail_risk_judges() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.lognormal(size=5_000), 2.0 * rng.lognormal(size=400)
    a, b = third_cumulants(x, y)
    variance = x.var() / 5_000 + y.var() / 400
    assert (b - a) / variance**1.5 == pytest.approx(tail_risk(x, y).distortion, rel=1e-12)
    # Gamma(1): third cumulant 2 of a value.
    a, b = third_cumulants(rng.exponential(size=400_000), rng.exponential(size=400_000))
    assert a * 400_000**2 == pytest.approx(2.0, rel=0.05)


@given(
    value=st.floats(0.5, 2.0),
    lift=st.floats(-0.5, 0.5),
    noise=st.floats(0.01, 0.2),
    boundary=st.floats(1.0, 5.0),
)
def test_without_skewness_the_lift_is_fiellers(
    value: float, lift: float, noise: float, boundary: float
) -> None:
    for sign in (1.0, -1.0):
        control = arm(sign * value, (noise * value) ** 2)
        treatment = arm(sign * value * (1.0 + lift), (0.5 * noise * value) ** 2)
        expected = fieller_bounds(control, treatment, 0.0, boundary)
        found = lift_bounds(control, treatment, NORMAL, boundary)
        if noise * boundary > 0.95:
            continue
        assert expected is not None
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_a_control_that_may_be_zero_has_no_bounds() -> None:
    assert lift_bounds(arm(1.0, 1.0), arm(1.0, 0.01), (0.1, 0.0), 1.96) is None
    # The control is 2.5 standard errors from zero. Its skewness decides whether that is enough.
    for rho, bounded in ((-0.5, False), (-0.1, True), (0.0, True), (0.3, True)):
        distance = 2.5 + rho * 2.5**2 / 3 + rho**2 * 2.5**3 / 27 + rho / 6
        assert (distance > 1.96) == bounded
        found = lift_bounds(arm(1.0, 0.16), arm(1.0, 0.01), (rho * 0.16**1.5, 1e-12), 1.96)
        assert (found is not None) == bounded, rho
    # 1.9 standard errors from zero: a long tail away from zero is enough, none is not.
    for rho, bounded in ((0.3, True), (0.0, False)):
        distance = 1.9 + rho * 1.9**2 / 3 + rho**2 * 1.9**3 / 27 + rho / 6
        assert (distance > 1.96) == bounded
        variance = 1.9**-2
        found = lift_bounds(arm(1.0, variance), arm(1.0, 0.01), (rho * variance**1.5, 1e-12), 1.96)
        assert (found is not None) == bounded, rho


def test_a_boundary_nearer_than_the_skewness_of_the_estimate_itself_has_no_interval() -> None:
    """At the estimate T is 0 and g(T) a sixth of rho: beyond .01 even there."""
    control, treatment, third = arm(1.0, 0.01), arm(1.0, 0.01), (0.0, 0.2 * 0.02**1.5)
    assert lift_bounds(control, treatment, third, 0.01) is None
    assert lift_bounds(control, treatment, third, 0.05) is not None


def test_the_skewness_of_a_weighted_difference_is_that_of_its_cumulants() -> None:
    """Of b - f a: cumulants add, and the r-th takes a factor to the power of r."""
    control, treatment = arm(1.0, 0.3), arm(2.0, 0.5)
    for factor in (1.0, 1.7, 0.4, -2.0):
        found = skewness_of_difference(control, treatment, (0.05, 0.02), factor)
        variance, third = 0.5 + factor**2 * 0.3, 0.02 - factor**3 * 0.05
        assert found == pytest.approx(third / variance**1.5)
    # Means of n exponential values have cumulants 1 / n and 2 / n^2.
    rng = np.random.default_rng(8)
    a, b = (rng.exponential(size=(200_000, 20)).mean(axis=1) for _ in range(2))
    single = arm(1.0, 1 / 20)
    found = skewness_of_difference(single, single, (2 / 400, 2 / 400), 1.5)
    assert found == pytest.approx(stats.skew(b - 1.5 * a), abs=0.03)


def test_bounds_are_the_lifts_whose_corrected_statistic_is_critical() -> None:
    control, treatment = arm(1.0, 0.01), arm(1.3, 0.02)
    third = (2e-4, 9e-4)
    bounds = lift_bounds(control, treatment, third, 2.0)
    assert bounds is not None
    found = []
    for ratio in np.linspace(0.8, 2.2, 14_001):
        variance = 0.02 + ratio**2 * 0.01
        t, rho = (1.3 - ratio) / variance**0.5, (9e-4 - ratio**3 * 2e-4) / variance**1.5
        found.append(abs(t + rho * t**2 / 3 + rho**2 * t**3 / 27 + rho / 6) <= 2.0)
    kept = np.linspace(0.8, 2.2, 14_001)[found]
    assert bounds == pytest.approx((kept[0] - 1.0, kept[-1] - 1.0), abs=1.1e-4)


def test_a_skewed_early_look_is_not_read_and_the_last_one_is() -> None:
    rng = np.random.default_rng(6)
    looks, cumulants = [], []
    for n in (200, 2_000, 20_000):
        x, y = rng.lognormal(0.0, 1.2, 9 * n), rng.lognormal(0.1, 1.2, n)
        table = [Moments.of(np.column_stack([v, np.ones(len(v))])) for v in (x, y)]
        control, treatment = estimate_arms(table)
        looks.append((control, treatment))
        cumulants.append(third_cumulants(x, y))
    planned = float(np.sqrt(looks[-1][0].variance + looks[-1][1].variance))
    design = GroupSequential()
    first, second, third = group_looks(design, looks, planned, last=True, cumulants=cumulants)
    assert first.skewness > 0.3
    assert first.boundary == np.inf
    assert (first.p_value, first.rejected, first.relative) == (1.0, False, None)
    assert second.skewness < 0.3
    expected = design.boundaries([second.fraction, third.fraction], last=True)
    assert [second.boundary, third.boundary] == pytest.approx(expected.tolist())
    # The bound at which z is the boundary, on the longer side of the skewed difference.
    assert third.absolute.low is not None
    assert third.absolute.high is not None
    assert third.absolute.high - third.absolute.value > third.absolute.value - third.absolute.low
    only = group_looks(design, looks[:1], planned, cumulants=cumulants[:1])
    assert only[0].boundary == np.inf
