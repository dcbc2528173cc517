from __future__ import annotations

import numpy as np
import pytest

from simulator.replay.estimators import Linear
from simulator.replay.estimators.blend import blend, blend_weights
from simulator.replay.estimators.tuning import limits, slope, smoothings, strengths


def _linear(value: float, error: float, users: int = 10_000) -> Linear:
    influence = np.where(np.arange(users) % 2, 1.0, -1.0) * error / np.sqrt(users)
    return Linear(value, influence, np.ones(users, bool))


def test_slope_stops_where_bias_shows() -> None:
    """Intervals of +- 2 * 1.96 errors: the third leaves the common part; no fourth is asked."""
    found = {1.0: (0.0, 1.0), 2.0: (2.0, 0.5), 3.0: (9.0, 0.2), 4.0: (0.1, 0.1)}
    chosen = slope(lambda p: _linear(*found[p]), [1.0, 2.0, 3.0, 4.0])
    assert chosen is not None
    assert chosen.parameter == 2.0


def test_slope_takes_the_least_variance_where_nothing_is_biased_and_keeps_no_state() -> None:
    parameters = [1.0, 2.0, 3.0]
    unbiased = slope(lambda p: _linear(1.0, 1.0 / p), parameters)
    assert unbiased is not None
    assert unbiased.parameter == 3.0
    first = slope(lambda p: _linear(10.0 * (p > 1), 1.0 / p), parameters)
    second = slope(lambda p: _linear(1.0, 1.0 / p), parameters)
    assert first is not None
    assert second is not None
    assert (first.parameter, second.parameter) == (1.0, 3.0)
    assert slope(lambda p: None, parameters) is None


def test_parameters_go_from_no_bias_to_least_variance() -> None:
    weight = np.random.default_rng(1).exponential(1.0, 500)
    found = limits(weight)
    assert found[0] == np.inf
    assert found == sorted(found, reverse=True)
    assert strengths(weight)[1] == pytest.approx(found[1] ** 2)
    assert smoothings()[0] == 0.0
    assert smoothings() == sorted(smoothings())
    assert limits(np.zeros(3)) == [np.inf]


def test_blend_has_the_weights_and_variance_of_generalised_least_squares() -> None:
    random = np.random.default_rng(2)
    shared = random.normal(0, 0.01, 5_000)
    a = Linear(1.0, shared + random.normal(0, 0.01, 5_000), np.ones(5_000, bool))
    b = Linear(1.2, shared + random.normal(0, 0.02, 5_000), np.ones(5_000, bool))
    weights = blend_weights([a, b])
    covariance = np.array([[a.covariance(a), a.covariance(b)], [a.covariance(b), b.covariance(b)]])
    covariance += 0.05 * np.trace(covariance) / 2 * np.eye(2)
    inverse = np.linalg.inv(covariance)
    np.testing.assert_allclose(weights, inverse.sum(axis=0) / inverse.sum())
    found = blend([a, b])
    assert found is not None
    assert found.value == pytest.approx(weights @ [1.0, 1.2])
    assert found.standard_error < min(a.standard_error, b.standard_error)


def test_blend_leaves_out_what_would_get_a_negative_weight() -> None:
    random = np.random.default_rng(4)
    shared = random.normal(0, 0.01, 2_000)
    a = Linear(1.0, shared, np.ones(2_000, bool))
    b = Linear(3.0, 3.0 * shared + random.normal(0, 0.01, 2_000), np.ones(2_000, bool))
    np.testing.assert_allclose(blend_weights([a, b]), [1.0, 0.0])


def test_blend_of_one_estimate_is_that_estimate() -> None:
    found = blend([_linear(3.0, 0.1)])
    assert found is not None
    assert found.value == 3.0
    assert blend([]) is None


def test_blended_intervals_cover() -> None:
    """IPS and SNIPS of the same log, 300 logs."""
    from simulator.replay.estimators import Estimate, ips, snips

    random = np.random.default_rng(3)
    hits = []
    for _ in range(300):
        weight, user = random.exponential(1.0, 600), np.arange(600) % 200
        outcome = random.normal(2.0, 1.0, 600)
        both = [ips(weight, outcome, user, 200), snips(weight, outcome, user, 200)]
        found = blend([e for e in both if e is not None])
        assert found is not None
        estimate = Estimate.of(found)
        assert estimate is not None
        hits.append(estimate.covers(2.0))
    assert 0.92 <= np.mean(hits) <= 0.98
