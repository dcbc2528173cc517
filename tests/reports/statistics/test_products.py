"""A product's lift, factor by factor: contributions that add up, errors that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Moments
from reports.statistics.products import adjusted_means, paired_means, product_lift


def users(rng: np.random.Generator, n: int, lifts: tuple[float, float, float]) -> np.ndarray:
    """float64[n, 4]: three sums that share their users' taste, and a covariate."""
    taste = rng.gamma(4.0, 0.25, n)
    sessions = rng.poisson(4.0 * lifts[0] * taste) + 1.0
    videos = rng.poisson(10.0 * lifts[1] * sessions) + 1.0
    seconds = videos * rng.gamma(2.0, 1.5 * lifts[2], n)
    return np.column_stack([sessions, videos, seconds, taste + rng.normal(0.0, 0.2, n)])


def test_contributions_add_up_to_the_lift_and_factors_multiply_to_it() -> None:
    rng = np.random.default_rng(1)
    arms = [Moments.of(users(rng, 30_000, lifts)) for lifts in ((1, 1, 1), (1.05, 0.9, 1.2))]
    found = product_lift(adjusted_means(arms, 3))
    assert sum(f.contribution.value for f in found.factors) == pytest.approx(found.lift, rel=1e-12)
    product = math.prod(1.0 + f.relative.value for f in found.factors)
    assert product - 1.0 == pytest.approx(found.lift, rel=1e-12)
    # Sums are at least 1: sessions rise by 4/5 of 5 %, videos per session fall by nearly 10 %.
    lifts = [f.relative.value for f in found.factors]
    assert lifts == pytest.approx([0.04, -0.1, 0.2], abs=0.03)


def test_means_are_those_of_a_regression_on_arm_and_covariate() -> None:
    rng = np.random.default_rng(2)
    tables = [users(rng, n, (1, 1, 1.1)) for n in (400, 700)]
    found = adjusted_means([Moments.of(t) for t in tables], 3)
    both = np.concatenate(tables)
    treated = np.repeat([0.0, 1.0], [400, 700])
    design = np.column_stack([np.ones(1_100), treated, both[:, 3] - both[:, 3].mean()])
    for k in range(3):
        fitted = OLS(both[:, k], design).fit()
        assert found.mean[:, k] == pytest.approx(
            [fitted.params[0], fitted.params[0] + fitted.params[1]], rel=1e-9
        )


def test_intervals_cover_the_truth() -> None:
    """300 experiments at 95 %: outside 90.5 to 98.5 % has chance below 0.001."""
    rng = np.random.default_rng(3)
    truth = np.array([1.0, 1.0, 1.1])
    inside = np.zeros(3)
    for _ in range(300):
        arms = [Moments.of(users(rng, 400, lifts)) for lifts in ((1, 1, 1), (1, 1, 1.1))]
        for k, factor in enumerate(product_lift(adjusted_means(arms, 3)).factors):
            relative = factor.relative
            assert relative.low is not None and relative.high is not None
            inside[k] += relative.low <= truth[k] - 1.0 <= relative.high
    assert (inside >= 0.905 * 300).all() and (inside <= 0.985 * 300).all(), inside


def test_pairs_leave_out_what_their_arms_share() -> None:
    rng = np.random.default_rng(4)
    first = users(rng, 500, (1, 1, 1))[:, :3]
    second = first * np.array([1.0, 1.0, 1.1])
    found = product_lift(paired_means(Moments.of(np.hstack([first, second]))))
    low, high = found.factors[2].relative[1:]
    assert found.lift == pytest.approx(0.1, rel=1e-12)
    assert low == pytest.approx(0.1, abs=1e-6) and high == pytest.approx(0.1, abs=1e-6)


def test_no_lift_is_divided_without_a_division_by_zero() -> None:
    rng = np.random.default_rng(5)
    same = Moments.of(users(rng, 100, (1, 1, 1)))
    found = product_lift(adjusted_means([same, same], 3))
    assert found.lift == 0.0 and [f.contribution.value for f in found.factors] == [0.0] * 3


def test_a_factor_of_zero_has_no_logarithm() -> None:
    silent = Moments.of(np.zeros((10, 2)))
    with pytest.raises(StatisticsError, match="zero"):
        product_lift(adjusted_means([silent, silent], 2))
