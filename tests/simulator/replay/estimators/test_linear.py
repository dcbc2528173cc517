from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.replay.estimators import Estimate, effective_sample_size, ips, ratio, snips


def _log(seed: int, users: int = 12, rows: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    user = np.concatenate([np.arange(users), random.integers(0, users, rows - users)])
    weight = np.where(random.random(rows) < 0.4, random.uniform(0.5, 4.0, rows), 0.0)
    return weight, random.normal(3.0, 1.0, rows), user


@given(st.integers(0, 10_000))
def test_variance_is_the_delete_one_user_jackknife(seed: int) -> None:
    weight, outcome, user = _log(seed)
    for estimator, denominator in ((snips, weight), (ips, np.ones_like(weight))):
        found = estimator(weight, outcome, user, 12)
        assert found is not None
        left_out = []
        for person in range(12):
            keep = user != person
            left_out.append((weight * outcome)[keep].sum() / denominator[keep].sum())
        assert found.value == pytest.approx((weight * outcome).sum() / denominator.sum())
        np.testing.assert_allclose(found.influence, found.value - np.array(left_out), atol=1e-10)


def test_one_row_per_user_and_equal_weights_give_the_textbook_mean() -> None:
    outcome = np.random.default_rng(1).normal(5.0, 2.0, 400)
    found = snips(np.full(400, 3.0), outcome, np.arange(400), 400)
    assert found is not None
    estimate = Estimate.of(found)
    assert estimate is not None
    assert estimate.value == pytest.approx(outcome.mean())
    assert estimate.standard_error == pytest.approx(outcome.std(ddof=1) / 20.0, rel=2e-3)


def test_difference_of_a_policy_with_itself_is_exactly_zero() -> None:
    weight, outcome, user = _log(3)
    found = snips(weight, outcome, user, 12)
    assert found is not None
    zero = Estimate.of(found - found)
    assert zero is not None
    assert (zero.value, zero.low, zero.high) == (0.0, 0.0, 0.0)


def test_without_weight_there_is_no_estimate_rather_than_zero() -> None:
    none, outcome, user = np.zeros(5), np.ones(5), np.arange(5)
    assert ips(none, outcome, user, 5) is None
    assert snips(none, outcome, user, 5) is None


def test_one_user_holding_all_weight_has_no_interval() -> None:
    weight = np.array([1.0, 2.0, 0.0, 0.0])
    assert ratio(weight, weight, np.array([0, 0, 1, 2]), 3) is None
    single = ips(weight, np.ones(4), np.array([0, 0, 1, 2]), 3)
    assert single is not None
    assert Estimate.of(single) is None


def test_relative_lift_follows_the_delta_method_of_a_log_ratio() -> None:
    random = np.random.default_rng(5)
    user, control_weight = np.arange(5_000), np.ones(5_000)
    outcome = random.normal(10.0, 1.0, 5_000)
    control = snips(control_weight, outcome, user, 5_000)
    treatment = snips(control_weight, 1.2 * outcome, user, 5_000)
    assert control is not None
    assert treatment is not None
    lift = treatment.relative_to(control)
    assert lift is not None
    assert lift.value == pytest.approx(0.2)
    # A constant factor has no noise: what both share cancels.
    assert np.abs(lift.influence).max() < 1e-12


def test_effective_sample_size_counts_equal_weights_and_punishes_unequal_ones() -> None:
    assert effective_sample_size(np.full(30, 7.0)) == pytest.approx(30.0)
    assert effective_sample_size(np.array([100.0, 1.0, 1.0])) < 1.1
    assert effective_sample_size(np.zeros(4)) == 0.0
