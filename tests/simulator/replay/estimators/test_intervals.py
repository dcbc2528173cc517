from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, chi2

from simulator.replay.estimators import (
    Estimate,
    Linear,
    empirical_bernstein,
    empirical_likelihood,
    fieller,
    snips,
)
from simulator.replay.estimators.intervals import (
    degrees_of_freedom,
    difference_of,
    share_interval,
    weighted_count,
)
from simulator.replay.estimators.linear import ratio_of_sums


def linear(value: float, influence: list[float]) -> Linear:
    array = np.array(influence)
    return Linear(value, array, np.ones(len(array), bool))


def test_equal_weights_give_garwoods_exact_poisson_interval() -> None:
    top = np.array([1.0] * 4 + [0.0] * 96)
    low, high = weighted_count(top, 100.0, 1.0)
    assert low == pytest.approx(chi2.ppf(0.025, 8) / 2 / 100)
    assert high == pytest.approx(chi2.ppf(0.975, 10) / 2 / 100)


def test_no_event_leaves_an_upper_bound_and_no_zero_width() -> None:
    users = 427
    weight = np.ones(users)
    found = snips(weight, np.zeros(users), np.arange(users), users)
    assert found is not None
    estimate = share_interval(found, np.zeros(users), weight, float(users))
    assert estimate is not None
    assert estimate.low == 0.0
    # Clopper and Pearson's bound of 0 of 427 is 0.0086; the Poisson bound is a little wider.
    assert estimate.high is not None
    assert beta.ppf(0.975, 1, users) <= estimate.high < 0.0090


def test_all_events_leave_a_lower_bound() -> None:
    weight = np.ones(60)
    found = snips(weight, np.ones(60), np.arange(60), 60)
    assert found is not None
    estimate = share_interval(found, weight, weight, 60.0)
    assert estimate is not None
    assert estimate.high == 1.0
    assert estimate.low == pytest.approx(1 - chi2.ppf(0.975, 2) / 2 / 60)


def test_rare_weighted_events_are_covered() -> None:
    random = np.random.default_rng(1)
    users, rate, hits = 300, 0.01, []
    for _ in range(400):
        weight = random.exponential(1.0, users)
        event = (random.random(users) < rate).astype(float)
        found = snips(weight, event, np.arange(users), users)
        assert found is not None
        estimate = share_interval(found, weight * event, weight, float(weight.sum()))
        assert estimate is not None
        hits.append(estimate.covers(rate))
        assert estimate.width() > 0.005
    assert np.mean(hits) > 0.93


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_fieller_holds_the_ratios_whose_difference_may_be_zero(side: float) -> None:
    random = np.random.default_rng(2)
    control = linear(2.0, list(random.normal(0, 0.003, 200)))
    amount = np.exp(1.2 * random.normal(size=200))
    treatment = linear(2.6, list(side * 0.004 * (amount - amount.mean())))
    lift = fieller(treatment, control)
    assert lift is not None
    assert lift.value == pytest.approx(0.3)
    kept = []
    for ratio in np.linspace(0.9, 1.8, 9_001):
        shifted = treatment - control.scaled(float(ratio))
        estimate = Estimate.of(shifted)
        assert estimate is not None
        if estimate.covers(0.0):
            kept.append(float(ratio) - 1.0)
    assert (lift.low, lift.high) == pytest.approx((kept[0], kept[-1]), abs=1.1e-4)


def test_a_control_that_may_be_zero_has_a_lift_without_upper_bound() -> None:
    control = linear(0.1, [0.08] * 40)
    treatment = linear(5.0, [(-1) ** i * 0.05 for i in range(40)])
    lift = fieller(treatment, control)
    assert lift is not None
    assert lift.value == pytest.approx(49.0)
    assert lift.high is None
    assert lift.low is not None
    assert 0 < lift.low < 49.0


def test_noise_everywhere_leaves_the_whole_line() -> None:
    control, treatment = linear(0.1, [0.1] * 30), linear(0.1, [0.1, -0.1] * 15)
    lift = fieller(treatment, control)
    assert lift is not None
    assert (lift.low, lift.high) == (None, None)


def test_identical_policies_have_a_lift_of_exactly_zero() -> None:
    same = linear(2.0, [0.1, -0.1, 0.05])
    lift = fieller(same, same)
    assert lift is not None
    assert (lift.value, lift.low, lift.high) == (0.0, 0.0, 0.0)


def test_difference_of_asymmetric_intervals() -> None:
    paired = linear(0.0, [0.0001, -0.0001, 0.0001, -0.0001])
    found = difference_of(Estimate(0.0, 0.0, 0.0, 0.008), Estimate(0.0, 0.0, 0.0, 0.006), paired)
    assert found is not None
    assert found.low == pytest.approx(-0.006)
    assert found.high == pytest.approx(0.008)


def test_empirical_likelihood_equals_its_definition_and_follows_skewness() -> None:
    random = np.random.default_rng(3)
    top = np.exp(random.normal(0, 1.2, 80))
    bottom = np.ones(80)
    found = empirical_likelihood(top, bottom)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.value > found.value - found.low
    # At a bound, maximise the likelihood over weights by another route.
    from scipy.optimize import brentq
    from scipy.stats import t

    residual = top - found.high
    values = np.append(residual, -max(1.0, np.log(80) / 2) * residual.mean())
    multiplier = brentq(
        lambda m: (values / (1 + m * values)).sum(),
        -1 / values.max() + 1e-9,
        -1 / values.min() - 1e-9,
    )
    statistic = 2 * np.log(1 + multiplier * values).sum()
    assert statistic == pytest.approx(t.ppf(0.975, 79) ** 2, rel=1e-6)


def test_empirical_likelihood_covers_a_ratio_with_noisy_normaliser() -> None:
    random = np.random.default_rng(4)
    hits = []
    for _ in range(100):
        bottom = random.exponential(1.0, 150)
        top = bottom * random.exponential(2.0, 150)
        found = empirical_likelihood(top, bottom)
        assert found is not None
        hits.append(found.covers(2.0))
    assert np.mean(hits) > 0.88


def test_empirical_bernstein_is_the_published_formula_and_wider_than_student() -> None:
    random = np.random.default_rng(5)
    values = random.random(500)
    found = empirical_bernstein(values, 1.0)
    half = np.sqrt(2 * values.var(ddof=1) * np.log(4 / 0.05) / 500) + 7 * np.log(4 / 0.05) / (
        3 * 499
    )
    assert found.high == pytest.approx(values.mean() + half)
    plain = Estimate.of(ratio_of_sums(values, np.ones(500)))  # type: ignore[arg-type]
    assert plain is not None
    assert found.width() > plain.width()


def test_degrees_of_freedom_count_the_users_that_matter() -> None:
    assert degrees_of_freedom(np.ones(50), 50) == 49
    # One user of four: the variance is as noisy as it can be.
    assert degrees_of_freedom(np.array([10.0, 0.1, 0.1, 0.1]), 4) == pytest.approx(8 / 3, rel=0.01)
    normal = np.random.default_rng(1).normal(0, 1, 20_000)
    assert degrees_of_freedom(normal, 20_000) == pytest.approx(20_000, rel=0.05)
