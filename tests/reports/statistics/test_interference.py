"""The bias of an online test: by hand where it is exact, by the jackknife and by repetition."""

from __future__ import annotations

import numpy as np
import pytest

from reports.statistics.errors import StatisticsError
from reports.statistics.interference import OnlineBias, bias_of_test

Float = np.ndarray


def people(n: int, seed: int) -> tuple[Float, Float, np.ndarray]:
    """Ratios of skewed numerators and denominators under both arms, and a split."""
    random = np.random.default_rng(seed)
    trait = random.lognormal(0.0, 0.8, n)
    control = np.stack([trait * random.lognormal(0.0, 0.3, n), 5.0 * trait], axis=1)
    treatment = np.stack([1.3 * trait * random.lognormal(0.0, 0.3, n), 5.0 * trait], axis=1)
    return control, treatment, random.integers(0, 2, n)


def shared(
    control: Float, treatment: Float, arm: np.ndarray, factors: tuple[Float, Float]
) -> Float:
    """Online values where sharing multiplies each arm's values, float64[n], by factors."""
    own = np.where((arm == 0)[:, None], control, treatment)
    return own * np.where(arm == 0, *factors)[:, None] ** np.array([1.0, 0.5])


def test_a_constant_change_has_no_noise_at_all() -> None:
    control, treatment, arm = people(300, 2)
    control[:, 1] = treatment[:, 1] = 1.0
    online = np.where((arm == 0)[:, None], control, treatment)
    online[:, 0] += np.where(arm == 0, 0.5, -0.25)
    found = bias_of_test(control, treatment, online, arm, 0.95)
    before, after = control[:, 0].mean(), treatment[:, 0].mean()
    assert found.expected.value == pytest.approx((after - 0.25) / (before + 0.5) - 1.0)
    assert found.bias.value == pytest.approx(found.expected.value - found.truth.value)
    assert found.control_moves.value == pytest.approx(0.5 / before)
    assert found.treatment_moves.value == pytest.approx(-0.25 / after)


def test_without_interference_there_is_no_bias_and_no_doubt() -> None:
    control, treatment, arm = people(200, 3)
    online = np.where((arm == 0)[:, None], control, treatment)
    found = bias_of_test(control, treatment, online, arm, 0.95)
    for interval in (found.bias, found.control_moves, found.treatment_moves):
        assert interval == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    assert found.expected == pytest.approx(found.truth)


def test_people_of_a_third_arm_count_for_the_truth_only() -> None:
    control, treatment, arm = people(300, 4)
    arm[::3] = 2
    online = shared(control, treatment, arm, (np.full(300, 1.1), np.full(300, 0.9)))
    online[arm == 2] = 1e6
    found = bias_of_test(control, treatment, online, arm, 0.95)
    assert abs(found.bias.value) < 1.0


@pytest.mark.parametrize("name", OnlineBias._fields)
def test_standard_errors_are_those_of_the_jackknife(name: str) -> None:
    """Efron, 1982: leave one person out at a time."""
    n = 150
    control, treatment, arm = people(n, 5)
    random = np.random.default_rng(6)
    factors = random.lognormal(0.1, 0.3, n), random.lognormal(-0.1, 0.3, n)
    online = shared(control, treatment, arm, factors)

    def estimate(chosen: np.ndarray) -> OnlineBias:
        return bias_of_test(control[chosen], treatment[chosen], online[chosen], arm[chosen], 0.95)

    whole = getattr(estimate(np.arange(n)), name)
    left = [getattr(estimate(np.delete(np.arange(n), i)), name).value for i in range(n)]
    jackknife = np.sqrt((n - 1) * np.var(left))
    assert (whole.high - whole.value) / 1.99 == pytest.approx(jackknife, rel=0.06)


def test_intervals_cover_the_bias_over_splits_of_new_people() -> None:
    """500 tests of 200 people; the truth from a million people and none of these formulas."""
    factors = 0.1, -0.05

    def world(n: int, seed: int) -> tuple[Float, Float, Float, np.ndarray]:
        control, treatment, arm = people(n, seed)
        random = np.random.default_rng(seed + 10_000)
        first, second = (random.lognormal(factor, 0.3, n) for factor in factors)
        return control, treatment, shared(control, treatment, arm, (first, second)), arm

    control, treatment, online, arm = world(1_000_000, 0)

    def ratio(rows: Float) -> float:
        return float(rows[:, 0].sum() / rows[:, 1].sum())

    bias = ratio(online[arm == 1]) / ratio(online[arm == 0]) - ratio(treatment) / ratio(control)
    covered = 0
    for seed in range(1, 501):
        found = bias_of_test(*world(200, seed), 0.95).bias
        assert found.low is not None and found.high is not None
        covered += found.low <= bias <= found.high
    assert 455 <= covered <= 490


def test_values_that_have_no_lift_are_refused() -> None:
    control, treatment, arm = people(50, 7)
    with pytest.raises(StatisticsError, match="not above zero"):
        bias_of_test(control * [0.0, 1.0], treatment, control, arm, 0.95)
    with pytest.raises(StatisticsError, match="fewer than two"):
        bias_of_test(control, treatment, control, np.zeros(50, dtype=np.int64), 0.95)
