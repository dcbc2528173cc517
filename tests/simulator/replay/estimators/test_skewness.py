from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from simulator.replay.estimators import Estimate, Linear
from simulator.replay.estimators.intervals import degrees_of_freedom, p_value, reach
from simulator.replay.estimators.skewness import inverse, skewness, transformed
from simulator.replay.result import Comparison
from simulator.replay.summary import at_level


def of_mean(values: NDArray[np.float64]) -> Linear:
    """The mean of one value per user, with the influences of a sum."""
    n = len(values)
    return Linear(float(values.mean()), (values - values.mean()) / n, np.ones(n, bool))


def tailed(seed: int, n: int = 150, width: float = 1.2) -> NDArray[np.float64]:
    return np.asarray(np.exp(width * np.random.default_rng(seed).normal(size=n)))


def test_skewness_is_the_sample_skewness_over_root_n() -> None:
    values = tailed(1)
    assert skewness(of_mean(values).influence) == pytest.approx(
        stats.skew(values) / np.sqrt(len(values)), rel=1e-12
    )
    assert skewness(of_mean(-values).influence) == -skewness(of_mean(values).influence)
    assert skewness(np.array([0.0, 3.0])) == 1.0
    assert skewness(np.zeros(4)) == 0.0


@pytest.mark.parametrize("skew", [0.7, 0.2, 1e-7, 0.0, -1e-7, -0.2, -0.7])
def test_the_inverse_undoes_a_rising_transformation(skew: float) -> None:
    points = np.linspace(-6.0, 6.0, 241)
    moved = [transformed(float(t), skew) for t in points]
    assert (np.diff(moved) >= 0).all()
    assert [inverse(m, skew) for m in moved] == pytest.approx(points, abs=1e-11)
    if skew:
        # Hall's other form of the same cubic.
        cube = ((1 + skew * points / 3) ** 3 - 1) / skew + skew / 6
        assert moved == pytest.approx(cube, abs=1e-7)


def test_the_transformation_evens_out_the_tails_of_a_skewed_mean() -> None:
    """Of means of 40 exponential values Student's statistic is below -1.96 far too often."""
    random = np.random.default_rng(2)
    below, above = np.zeros(2), np.zeros(2)
    for _ in range(6_000):
        linear = of_mean(random.exponential(size=40))
        plain = (linear.value - 1.0) / linear.standard_error
        moved = transformed(plain, skewness(linear.influence))
        below += [plain < -1.96, moved < -1.96]
        above += [plain > 1.96, moved > 1.96]
    below, above = below / 6_000, above / 6_000
    assert below[0] > 0.06
    assert above[0] < 0.012
    assert abs(below[1] - above[1]) < 0.4 * (below[0] - above[0])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_a_value_is_outside_if_both_statistics_are_beyond_students_quantile(
    sign: float, level: float
) -> None:
    linear = of_mean(sign * tailed(3))
    estimate = Estimate.of(linear, level)
    assert estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    quantile = stats.t.ppf(0.5 + level / 2, degrees_of_freedom(linear.influence, 150))
    error = np.sqrt((linear.influence**2).sum())
    skew = (linear.influence**3).sum() / error**3
    grid = np.linspace(linear.value - 40 * error, linear.value + 40 * error, 80_001)
    t = (linear.value - grid) / error
    g = t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6
    outside = ((t > quantile) & (g > quantile)) | ((t < -quantile) & (g < -quantile))
    kept = grid[~outside]
    step = abs(grid[1] - grid[0])
    assert estimate.low == pytest.approx(kept.min(), abs=1.01 * step)
    assert estimate.high == pytest.approx(kept.max(), abs=1.01 * step)
    # The side of the tail reaches farther, the other as far as Student's.
    short, long = sorted((linear.value - estimate.low, estimate.high - linear.value))
    assert short == pytest.approx(quantile * error, rel=1e-9)
    assert long > 1.2 * short
    assert (estimate.high - linear.value > linear.value - estimate.low) == (sign > 0)


def test_without_skewness_it_is_students_interval() -> None:
    half = np.random.default_rng(4).normal(size=100)
    values = np.concatenate([half, -half])
    linear = of_mean(values)
    estimate = Estimate.of(linear)
    assert estimate is not None
    freedom = degrees_of_freedom(linear.influence, 200)
    expected = stats.t.interval(0.95, freedom, linear.value, linear.standard_error)
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-12)


def test_the_p_value_is_below_five_per_cent_exactly_if_the_interval_leaves_out_zero() -> None:
    spread = of_mean(tailed(5))
    seen = set()
    for shift in np.linspace(-9.0, 9.0, 721):
        moved = Linear(shift * spread.standard_error, spread.influence, spread.contributes)
        estimate, p = Estimate.of(moved), p_value(moved)
        assert estimate is not None
        assert p is not None
        assert 0.0 < p <= 1.0
        assert (p < 0.05) == (not estimate.covers(0.0)), shift
        seen.add(p < 0.05)
    assert seen == {True, False}
    assert p_value(Linear(0.0, spread.influence, spread.contributes)) == 1.0
    assert p_value(Linear(1.0, np.zeros(3), np.ones(3, bool))) is None


def test_where_the_skewness_turns_the_sign_nothing_speaks_against_zero() -> None:
    """The estimate is above 0, its statistic without the skewness is below."""
    influence = np.append(np.full(9, 0.01), -0.09)
    error = float(np.sqrt((influence**2).sum()))
    linear = Linear(0.05 * error, influence, np.ones(10, bool))
    assert transformed(0.05, skewness(influence)) < 0.0
    assert p_value(linear) == 1.0


def test_a_symmetric_p_value_is_students() -> None:
    half = np.random.default_rng(6).normal(size=50)
    influence = np.concatenate([half, -half])
    influence = influence / np.sqrt((influence**2).sum()) * 0.1
    linear = Linear(0.25, influence, np.ones(100, bool))
    freedom = degrees_of_freedom(influence, 100)
    assert p_value(linear) == pytest.approx(2 * stats.t.sf(2.5, freedom), rel=1e-9)


def test_a_long_tail_is_covered_more_often_than_by_student() -> None:
    """Log-normal amounts that nine of ten users do not have: docs/replay.md has the study."""
    random = np.random.default_rng(7)
    truth, ours, student = 0.1, [], []
    for _ in range(1_500):
        amount = np.exp(1.2 * random.normal(size=1_000) - 0.72)
        linear = of_mean(np.where(random.random(1_000) < 0.1, amount, 0.0))
        estimate = Estimate.of(linear)
        assert estimate is not None
        ours.append(estimate.covers(truth))
        quantile = stats.t.ppf(0.975, degrees_of_freedom(linear.influence, 1_000))
        student.append(abs(linear.value - truth) <= quantile * linear.standard_error)
    assert np.mean(student) < 0.93
    assert np.mean(ours) > np.mean(student) + 0.015


def test_another_level_of_confidence_is_that_interval_and_not_a_stretched_one() -> None:
    treatment, control = of_mean(tailed(8)), of_mean(tailed(9))
    paired = treatment - control
    found = Comparison(
        Estimate.of(treatment), Estimate.of(control), Estimate.of(paired), None,
        linear=(treatment, control),
    )  # fmt: skip
    difference, relative = at_level(found, 0.99)
    assert difference == Estimate.of(paired, 0.99)
    assert relative is not None
    below, above = reach(paired.influence, 150, 0.99)
    assert difference is not None
    assert difference.low == pytest.approx(paired.value - below * paired.standard_error)
    assert difference.high == pytest.approx(paired.value + above * paired.standard_error)
