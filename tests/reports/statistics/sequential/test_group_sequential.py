"""Boundaries, power and inference against published tables, multivariate normals, simulation."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from scipy import integrate, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate
from reports.statistics.sequential.crossing import crossing_probabilities
from reports.statistics.sequential.group_inference import group_looks, repeated_p_value, stagewise
from reports.statistics.sequential.group_sequential import GroupSequential
from reports.statistics.sequential.skewness import lift_bounds
from reports.statistics.sequential.spending import Spending, obrien_fleming, pocock, power_family

FIVE = [0.2, 0.4, 0.6, 0.8, 1.0]
# Drift of a test without interim looks, alpha 5 % two-sided, power 90 %.
FIXED = float(stats.norm.isf(0.025) + stats.norm.isf(0.1))


def test_lan_demets_boundaries_are_the_published_ones() -> None:
    """Five equal looks, 5 % two-sided; as given by the programs of Reboussin et al. (2000)."""
    flemish = GroupSequential(obrien_fleming).boundaries(FIVE)
    # The old programs cut digits off and integrate on a coarser grid: 3.3569 is 3.35701 (below).
    assert flemish == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=1.2e-4)
    flat = GroupSequential(pocock).boundaries(FIVE)
    assert flat == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=1.2e-4)


def test_second_boundary_by_adaptive_quadrature() -> None:
    """P(|z_1| < b_1, z_2 > b_2) integrated over z_1, at five digits more than the tables."""
    first, second = GroupSequential(obrien_fleming).boundaries([0.2, 0.4])

    def integrand(z: float) -> float:
        return float(stats.norm.pdf(z) * stats.norm.sf((second - z * 0.5**0.5) / 0.5**0.5))

    value = integrate.quad(integrand, -first, first, epsabs=1e-14)[0]
    spent = obrien_fleming(np.array([0.2, 0.4]), 0.025)
    assert value == pytest.approx(spent[1] - spent[0], rel=1e-8)


@pytest.mark.parametrize(
    ("looks", "constant", "rising"),
    [
        (2, 2.178, 1.977),
        (3, 2.289, 2.004),
        (4, 2.361, 2.024),
        (5, 2.413, 2.040),
        (10, 2.555, 2.087),
    ],
)
def test_classical_boundaries_spend_five_per_cent(
    looks: int, constant: float, rising: float
) -> None:
    """Jennison & Turnbull 2000, tables 2.1 (Pocock) and 2.3 (O'Brien & Fleming)."""
    t = np.arange(1, looks + 1) / looks
    for z in (np.full(looks, constant), rising / np.sqrt(t)):
        crossing = crossing_probabilities(t.tolist(), (-z).tolist(), z.tolist())
        # The tables are rounded to three decimals; the density there is below .12 per unit.
        assert crossing.upper.sum() + crossing.lower.sum() == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(
    ("constant", "power_of_time", "inflation"), [(2.413, 0, 1.207), (2.040, -0.5, 1.026)]
)
def test_classical_inflation_gives_the_power(
    constant: float, power_of_time: float, inflation: float
) -> None:
    """Jennison & Turnbull 2000, tables 2.2 and 2.4: five looks, power 90 %."""
    z = constant * np.array(FIVE) ** power_of_time
    crossing = crossing_probabilities(FIVE, (-z).tolist(), z.tolist(), drift=FIXED * inflation**0.5)
    assert crossing.upper.sum() == pytest.approx(0.9, abs=3e-4)


@pytest.mark.parametrize("drift", [0.0, 1.7])
def test_crossing_is_the_multivariate_normal(drift: float) -> None:
    t = np.array([0.15, 0.5, 0.62])
    low, high = np.array([-3.0, -1.0, -0.5]), np.array([2.5, 2.2, 2.1])
    correlation = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    crossing = crossing_probabilities(t.tolist(), low.tolist(), high.tolist(), drift=drift)
    for k in range(1, 4):
        inside = stats.multivariate_normal(drift * np.sqrt(t[:k]), correlation[:k, :k], seed=1).cdf(
            high[:k], lower_limit=low[:k]
        )
        crossed = crossing.upper[:k].sum() + crossing.lower[:k].sum()
        assert crossed == pytest.approx(1.0 - inside, abs=2e-5)


@pytest.mark.parametrize("spending", [obrien_fleming, pocock, power_family(3.0)])
@pytest.mark.parametrize("sides", [1, 2])
def test_error_rate_and_power_by_simulation(spending: Spending, sides: int) -> None:
    rng = np.random.default_rng(31)
    t = np.array([0.1, 0.35, 0.4, 0.9, 1.0])
    design = GroupSequential(spending, 0.05, 2 if sides == 2 else 1)
    upper = design.boundaries(t.tolist(), last=True)
    steps = np.sqrt(np.diff(t, prepend=0.0))
    z = (rng.standard_normal((200_000, 5)) * steps).cumsum(axis=1) / np.sqrt(t)
    for drift in (0.0, 2.0):
        shifted = z + drift * np.sqrt(t)
        passed = (np.abs(shifted) if sides == 2 else shifted) > upper
        first = np.where(passed.any(axis=1), passed.argmax(axis=1), 4)
        operating = design.operating(t.tolist(), drift)
        # Four standard errors of 200,000 paths.
        assert passed.any(axis=1).mean() == pytest.approx(operating.power, abs=0.0045)
        assert t[first].mean() == pytest.approx(operating.expected_fraction, abs=0.003)
    assert design.operating(t.tolist(), 0.0).power == pytest.approx(0.05, abs=1e-9)


@given(
    steps=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12),
    alpha=st.floats(0.001, 0.3),
    spending=st.sampled_from([obrien_fleming, pocock, power_family(1.5)]),
)
@example(steps=[1.0, 1.0, 1.0, 1.0, 1.0, 0.01171875], alpha=0.25, spending=obrien_fleming)
@settings(max_examples=40, deadline=None)
def test_any_look_times_spend_the_error_rate_as_planned(
    steps: list[float], alpha: float, spending: Spending
) -> None:
    fractions = np.cumsum(steps) / np.sum(steps)
    assume(np.diff(fractions).min(initial=1.0) > 0.002)
    design = GroupSequential(spending, alpha)
    z = design.boundaries(fractions.tolist())
    crossing = crossing_probabilities(fractions.tolist(), (-z).tolist(), z.tolist())
    spent = np.cumsum(crossing.upper + crossing.lower)
    assert spent == pytest.approx(2.0 * spending(fractions, alpha / 2.0), abs=1e-8)


def test_more_or_less_information_than_planned() -> None:
    design = GroupSequential()
    over = design.boundaries([0.5, 1.3])
    under = design.boundaries([0.5, 0.8], last=True)
    for fractions, z in (([0.5, 1.3], over), ([0.5, 0.8], under)):
        crossing = crossing_probabilities(fractions, (-z).tolist(), z.tolist())
        assert crossing.upper.sum() + crossing.lower.sum() == pytest.approx(0.05, abs=1e-9)
    assert under[-1] < design.boundaries([0.5, 0.8])[-1]


def test_two_hundred_looks_are_no_problem() -> None:
    fractions = (np.arange(1, 201) / 200).tolist()
    z = GroupSequential().boundaries(fractions)
    crossing = crossing_probabilities(fractions, (-z).tolist(), z.tolist())
    assert crossing.upper.sum() + crossing.lower.sum() == pytest.approx(0.05, abs=1e-8)


def test_drift_gives_the_power_asked_for() -> None:
    design = GroupSequential(pocock, 0.05)
    assert design.operating(FIVE, design.drift(FIVE, 0.9)).power == pytest.approx(0.9, abs=1e-8)
    # One look costs nothing.
    one = GroupSequential(alpha=0.05, sides=1).drift([1.0], 0.8)
    assert one == pytest.approx(stats.norm.isf(0.05) + stats.norm.isf(0.2), abs=1e-8)


def test_conditional_power_is_the_closed_form_and_the_simulation() -> None:
    design = GroupSequential(obrien_fleming, 0.05)
    final = float(design.boundaries([0.5, 1.0])[-1])
    for z, drift in ((1.0, 3.0), (-0.4, 2.5), (1.9, None)):
        trend = z / 0.5**0.5 if drift is None else drift
        mean = z * 0.5**0.5 + trend * 0.5
        closed = stats.norm.sf((final - mean) / 0.5**0.5) + stats.norm.cdf(
            (-final - mean) / 0.5**0.5
        )
        assert design.conditional_power([0.5, 1.0], 0, z, drift) == pytest.approx(closed, abs=1e-9)
    rng = np.random.default_rng(32)
    upper = design.boundaries(FIVE)[2:]
    score = 1.1 * 0.4**0.5 + (2.8 * 0.2 + rng.normal(0, 0.2**0.5, (200_000, 3))).cumsum(axis=1)
    share = (np.abs(score / np.sqrt(FIVE[2:])) > upper).any(axis=1).mean()
    assert design.conditional_power(FIVE, 1, 1.1, 2.8) == pytest.approx(share, abs=0.0045)


def test_impossible_designs_are_refused() -> None:
    with pytest.raises(StatisticsError, match="not in order"):
        GroupSequential().boundaries([0.5, 0.5, 1.0])
    with pytest.raises(StatisticsError, match="too close"):
        GroupSequential().boundaries([0.5, 0.500001, 1.0])
    with pytest.raises(StatisticsError, match="error rate"):
        GroupSequential(alpha=0.0).boundaries(FIVE)
    with pytest.raises(StatisticsError, match="no look remains"):
        GroupSequential().conditional_power(FIVE, 4, 1.0)
    with pytest.raises(StatisticsError, match="not stopped"):
        stagewise(GroupSequential(), [0.2], 1.0, 0.1)
    for power in (0.01, 0.05, 1.0, 1.5):
        with pytest.raises(StatisticsError, match="power is not possible"):
            GroupSequential().drift(FIVE, power)


def test_looks_before_the_first_one_read_spend_nothing() -> None:
    design = GroupSequential(pocock)
    late = design.boundaries(FIVE, last=True, first=2)
    assert np.isinf(late[:2]).all()
    assert late[2:] == pytest.approx(design.boundaries(FIVE[2:], last=True), abs=1e-12)
    assert np.isinf(design.boundaries(FIVE[:2], first=2)).all()
    assert design.first_read([0.5, -0.4, 0.31, 0.2, 0.6]) == 3
    assert design.first_read([0.5, 0.4]) == 2
    assert design.first_read([0.5, 0.4], last=True) == 1


def arm(value: float, variance: float) -> ArmEstimate:
    return ArmEstimate(1_000, value, value, variance, variance)


@given(
    z=st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    alpha=st.floats(0.01, 0.3),
    sides=st.sampled_from([1, 2]),
    spending=st.sampled_from([obrien_fleming, pocock]),
    rho=st.lists(st.sampled_from([0.0, -0.28, 0.25, 0.8]), min_size=3, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_repeated_p_value_and_intervals_agree_at_every_look(
    z: list[float], alpha: float, sides: int, spending: Spending, rho: list[float]
) -> None:
    design = GroupSequential(spending, alpha, 2 if sides == 2 else 1)
    variances = (0.01, 0.004, 0.002)
    looks = [
        (arm(10.0, v / 2), arm(10.0 + value * v**0.5, v / 2))
        for value, v in zip(z, variances, strict=True)
    ]
    # Third cumulants that add up to this skewness of the difference.
    cumulants = [(-0.4 * r * v**1.5, 0.6 * r * v**1.5) for r, v in zip(rho, variances, strict=True)]
    found = group_looks(design, looks, 0.002**0.5, last=True, cumulants=cumulants)
    for look, skewness in zip(found, rho, strict=True):
        assert look.skewness == pytest.approx(skewness, abs=1e-12)
        if abs(look.p_value - alpha) < 1e-6 or look.absolute.low is None:
            continue
        significant = look.p_value < alpha
        assert significant == look.rejected
        assert look.relative is not None
        for interval in (look.absolute, look.relative):
            assert interval.low is not None
            above = interval.high is not None and interval.high < 0
            assert significant == (interval.low > 0 or above)


def test_p_values_of_one_look_are_the_ordinary_ones() -> None:
    p = 2.0 * stats.norm.sf(2.2)
    design = GroupSequential()
    assert repeated_p_value(design, [1.0], -2.2) == pytest.approx(p, rel=1e-7)
    result = stagewise(design, [1.0], -2.2, 0.5, last=True)
    assert result.p_value == pytest.approx(p, rel=1e-9)
    assert result.interval.value == pytest.approx(-1.1, abs=1e-8)
    half = stats.norm.isf(0.025) * 0.5
    assert (result.interval.low, result.interval.high) == pytest.approx(
        (-1.1 - half, -1.1 + half), abs=1e-7
    )
    single = stagewise(GroupSequential(sides=1), [1.0], 2.2, 0.5, last=True)
    assert single.p_value == pytest.approx(p / 2, rel=1e-9)
    assert single.interval.high is None


def test_a_test_stops_at_the_boundary_of_its_last_look() -> None:
    design = GroupSequential(obrien_fleming)
    first, second = design.boundaries([0.5, 0.8])
    assert second + 0.1 < first - 0.1
    for side in (1.0, -1.0):
        stopped = stagewise(design, [0.5, 0.8], side * (second + 0.1), 1.0)
        assert stopped.p_value < 0.05 and side * stopped.interval.value > 0.0
        with pytest.raises(StatisticsError, match="not stopped"):
            stagewise(design, [0.5, 0.8], side * (second - 0.1), 1.0)
    # One-sided tests do not stop for harm.
    with pytest.raises(StatisticsError, match="not stopped"):
        stagewise(design._replace(sides=1), [0.5, 0.8], -5.0, 1.0)


@pytest.mark.parametrize("z", [-2.2, -0.5, 0.0, 0.5, 2.2])
def test_a_single_look_at_the_end_is_the_ordinary_interval(z: float) -> None:
    two = stagewise(GroupSequential(), [1.0], z, 1.0, last=True)
    assert two.p_value == pytest.approx(2.0 * stats.norm.sf(abs(z)))
    half = stats.norm.isf(0.025)
    bounds = (two.interval.low, two.interval.value, two.interval.high)
    assert bounds == pytest.approx((z - half, z, z + half), abs=1e-7)
    one = stagewise(GroupSequential(sides=1), [1.0], z, 1.0, last=True)
    assert one.p_value == pytest.approx(stats.norm.sf(z))
    bounds = (one.interval.low, one.interval.value)
    assert bounds == pytest.approx((z - stats.norm.isf(0.05), z), abs=1e-7)


def test_a_one_sided_lift_is_open_on_the_harmless_side() -> None:
    """With skewed values; more is less of a negative control."""
    design = GroupSequential(sides=1)
    for sign in (1.0, -1.0):
        control, treatment = arm(sign * 10.0, 0.04), arm(sign * 10.0 + 0.6, 0.04)
        third = (0.001, 0.002)
        (look,) = group_looks(design, [(control, treatment)], 0.08**0.5, cumulants=[third])
        bounds = lift_bounds(control, treatment, third, look.boundary)
        assert look.relative is not None and bounds is not None
        assert look.relative.value == pytest.approx(sign * 0.06)
        kept = (bounds[0], None) if sign > 0 else (None, bounds[1])
        assert (look.relative.low, look.relative.high) == kept


def test_stagewise_inference_covers_and_agrees_with_stopping() -> None:
    """400 experiments with drift 2: coverage, median-unbiasedness, p below alpha iff crossed."""
    rng = np.random.default_rng(33)
    t = np.array([0.3, 0.6, 1.0])
    design = GroupSequential(pocock)
    upper = design.boundaries(t.tolist())
    steps = np.sqrt(np.diff(t, prepend=0.0))
    paths = (rng.standard_normal((400, 3)) * steps).cumsum(axis=1) / np.sqrt(t) + 2.0 * np.sqrt(t)
    covered = low = 0
    for z in paths:
        crossed = np.abs(z) > upper
        k = int(crossed.argmax()) if crossed.any() else 2
        result = stagewise(design, t[: k + 1].tolist(), float(z[k]), 1.0, last=k == 2)
        assert result.interval.low is not None
        assert result.interval.high is not None
        assert (result.p_value < 0.05) == bool(crossed.any())
        assert (result.interval.low > 0 or result.interval.high < 0) == bool(crossed.any())
        covered += result.interval.low < 2.0 < result.interval.high
        low += result.interval.value < 2.0
    # Three standard errors of Binomial(400, .95) and Binomial(400, .5).
    assert abs(covered / 400 - 0.95) < 0.033
    assert abs(low / 400 - 0.5) < 0.075
