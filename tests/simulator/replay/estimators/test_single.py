"""Estimators of single choices against enumeration of everything that could have been logged."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from simulator.replay.estimators import Candidates, Linear, Rows, dense_rows, weights
from simulator.replay.estimators.single import (
    TUNED,
    UNTUNED,
    direct,
    doubly_robust,
    inverse_propensity,
    marginalised_ips,
    self_normalised_doubly_robust,
    shrinkage_dr,
    snips,
    switch_dr,
)

ACTIONS, ROWS, USERS = 4, 3, 2
USER = np.array([1, 0, 1])
REWARD = np.random.default_rng(1).uniform(0.0, 5.0, (ROWS, ACTIONS))
MODEL = np.random.default_rng(2).uniform(0.0, 5.0, (ROWS, ACTIONS))
LOGGING = np.random.default_rng(3).dirichlet(np.ones(ACTIONS), ROWS)
TARGET = np.random.default_rng(4).dirichlet(np.ones(ACTIONS), ROWS)
TRUTH = float((TARGET * REWARD).sum(axis=1).mean())


def rows_of(actions: np.ndarray, reward: np.ndarray = REWARD, model: np.ndarray = MODEL) -> Rows:
    at = np.arange(ROWS)
    return dense_rows(
        USER, USERS, reward[at, actions], actions, TARGET, LOGGING[at, actions], model
    )


def expectation(estimator: Callable[[Rows], Linear | None], **changes: np.ndarray) -> float:
    """Sum over all 64 logs of their probability times the estimate."""
    total = 0.0
    for actions in itertools.product(range(ACTIONS), repeat=ROWS):
        chance = LOGGING[np.arange(ROWS), actions].prod()
        found = estimator(rows_of(np.array(actions), **changes))
        assert found is not None
        total += chance * found.value
    return total


@pytest.mark.parametrize("estimator", [inverse_propensity, doubly_robust])
def test_unbiased_over_every_possible_log(estimator: Callable[[Rows], Linear | None]) -> None:
    assert expectation(estimator) == pytest.approx(TRUTH, abs=1e-9)


def test_a_right_model_needs_no_weights() -> None:
    for estimator in (direct, doubly_robust, self_normalised_doubly_robust):
        for actions in itertools.product(range(ACTIONS), repeat=ROWS):
            found = estimator(rows_of(np.array(actions), model=REWARD))
            assert found is not None
            assert found.value == pytest.approx(TRUTH, abs=1e-9)


@pytest.mark.parametrize("limit", [0.5, 1.0, 2.0])
def test_bias_of_switching_is_that_of_the_model_where_weights_are_large(limit: float) -> None:
    weight = TARGET / LOGGING
    left = (TARGET * (MODEL - REWARD) * (weight > limit)).sum(axis=1).mean()
    found = expectation(lambda rows: switch_dr(rows, limit))
    assert found == pytest.approx(TRUTH + left, abs=1e-9)


def test_bias_of_shrinkage_is_the_models_error_times_what_was_shrunk() -> None:
    weight = TARGET / LOGGING
    missing = TARGET - LOGGING * weights.shrunk(weight, 1.5)
    left = (missing * (MODEL - REWARD)).sum(axis=1).mean()
    assert expectation(lambda rows: shrinkage_dr(rows, 1.5)) == pytest.approx(
        TRUTH + left, abs=1e-9
    )


def test_marginal_weights_are_unbiased_if_features_tell_everything() -> None:
    feature = np.array([0, 1, 0, 2])
    reward = REWARD[:, feature]
    total = 0.0
    for actions in itertools.product(range(ACTIONS), repeat=ROWS):
        chosen = np.array(actions)
        candidates = csr(chosen)
        found = marginalised_ips(
            rows_of(chosen, reward=reward), candidates.marginal_weights(np.tile(feature, ROWS))
        )
        assert found is not None
        total += LOGGING[np.arange(ROWS), chosen].prod() * found.value
    assert total == pytest.approx(float((TARGET * reward).sum(axis=1).mean()), abs=1e-9)


def csr(actions: np.ndarray) -> Candidates:
    return Candidates(
        start=np.arange(ROWS + 1) * ACTIONS,
        target=TARGET.ravel(),
        logging=LOGGING.ravel(),
        chosen=np.arange(ROWS) * ACTIONS + actions,
    )


def test_candidate_lists_reduce_to_the_same_rows_as_a_dense_table() -> None:
    actions = np.array([2, 0, 3])
    dense = rows_of(actions)
    sparse = csr(actions).rows(USER, USERS, dense.outcome, MODEL.ravel())
    for name in ("target", "logging", "model", "expected", "weight"):
        np.testing.assert_allclose(getattr(sparse, name), getattr(dense, name), atol=1e-12)
    np.testing.assert_allclose(csr(actions).second_moment(), (TARGET**2 / LOGGING).sum(axis=1))


def test_formulas_row_by_row_in_any_order() -> None:
    random = np.random.default_rng(5)
    n, users = 60, 7
    rows = Rows(
        user=random.integers(0, users, n),
        n_users=users,
        outcome=random.exponential(2.0, n),
        target=random.uniform(0.05, 1.0, n),
        logging=random.uniform(0.05, 1.0, n),
        model=random.exponential(2.0, n),
        expected=random.exponential(2.0, n),
    )
    w, y, q, e = rows.weight, rows.outcome, rows.model, rows.expected
    assert q is not None
    assert e is not None
    by_hand = {
        "matching": (rows.target * y).sum() / rows.target.sum(),
        "ips": (w * y).mean(),
        "snips": (w * y).sum() / w.sum(),
        "dm": e.mean(),
        "dr": (e + w * (y - q)).mean(),
        "sndr": e.mean() + (w * (y - q)).sum() / w.sum(),
        "clipped_ips": (np.minimum(w, 1.2) * y).mean(),
        "switch_dr": (e + np.where(w <= 1.2, w, 0) * (y - q)).mean(),
        "dr_os": (e + 1.2 * w / (w**2 + 1.2) * (y - q)).mean(),
        "sub_gaussian_ips": (w / (0.7 + 0.3 * w) * y).mean(),
        "sub_gaussian_dr": (e + w / (0.7 + 0.3 * w) * (y - q)).mean(),
    }
    order = random.permutation(n)
    shuffled = Rows(
        *(
            getattr(rows, name)[order] if name != "n_users" else users
            for name in ("user", "n_users", "outcome", "target", "logging", "model", "expected")
        )
    )
    assert set(by_hand) == set(UNTUNED) | set(TUNED)
    for name, value in by_hand.items():
        tuning = 0.3 if "gaussian" in name else 1.2
        for each in (rows, shuffled):
            found = UNTUNED[name](each) if name in UNTUNED else TUNED[name](each, tuning)
            assert found is not None
            assert found.value == pytest.approx(value, abs=1e-12), name
            assert found.influence.sum() == pytest.approx(0.0, abs=0.3 * found.standard_error)


@pytest.mark.parametrize("name", [*UNTUNED, *TUNED])
def test_influences_are_those_of_leaving_a_user_out(name: str) -> None:
    """Each estimator is a mean of 4,000 users' worth of rows, so that first order is enough."""
    random = np.random.default_rng(6)
    users = 4_000
    user = np.concatenate([np.arange(users), random.integers(0, users, users)])
    n = len(user)
    columns = {
        "outcome": random.exponential(2.0, n),
        "target": random.uniform(0.05, 1.0, n),
        "logging": random.uniform(0.05, 1.0, n),
        "model": random.exponential(2.0, n),
        "expected": random.exponential(2.0, n),
    }

    def estimate(keep: np.ndarray) -> Linear:
        rows = Rows(user=user[keep], n_users=users, **{k: v[keep] for k, v in columns.items()})
        found = UNTUNED[name](rows) if name in UNTUNED else TUNED[name](rows, 0.5)
        assert found is not None
        return found

    whole = estimate(np.ones(n, bool))
    for person in range(5):
        without = estimate(user != person).value
        moved = whole.value - without
        assert moved == pytest.approx(whole.influence[person], rel=0.02, abs=1e-8)


def test_matching_accepts_with_the_targets_probability() -> None:
    """The mean over the target's draws of plain replay, which OBP's users ask for."""
    rows = rows_of(np.array([0, 1, 2]))
    at = np.arange(ROWS)
    target = TARGET[at, [0, 1, 2]]
    expected = (target * rows.outcome).sum() / target.sum()
    found = UNTUNED["matching"](rows)
    assert found is not None
    assert found.value == pytest.approx(expected)


def test_snips_of_a_constant_is_that_constant() -> None:
    random = np.random.default_rng(8)
    found = snips(random.exponential(1.0, 50), np.full(50, 7.0), random.integers(0, 9, 50), 9)
    assert found is not None
    assert found.value == pytest.approx(7.0)
    assert found.standard_error == pytest.approx(0.0, abs=1e-12)


def test_weights_at_their_ends() -> None:
    w = np.array([0.0, 0.5, 2.0, 40.0])
    np.testing.assert_array_equal(weights.clipped(w, np.inf), w)
    np.testing.assert_array_equal(weights.switched(w, 2.0), [0.0, 0.5, 2.0, 0.0])
    np.testing.assert_array_equal(weights.shrunk(w, np.inf), w)
    np.testing.assert_array_equal(weights.shrunk(w, 0.0), np.zeros(4))
    np.testing.assert_array_equal(weights.sub_gaussian(w, 0.0), w)
    np.testing.assert_allclose(weights.sub_gaussian(w, 0.5), 2 * w / (1 + w))
    one = weights.implicit_exploration(np.array([0.4]), np.array([0.1]), 0.1)
    np.testing.assert_allclose(one, [2.0])


def test_mixed_weights_are_unbiased_over_two_logging_policies() -> None:
    """Half of the rows by each policy: one context, two actions, enumerated."""
    target, reward = np.array([0.9, 0.1]), np.array([2.0, 5.0])
    logging = np.array([[0.2, 0.8], [0.7, 0.3]])
    share = np.array([0.5, 0.5])
    total = 0.0
    for policy, action in itertools.product(range(2), range(2)):
        w = weights.mixed(target[[action]], logging[:, action][None, :], share)[0]
        total += share[policy] * logging[policy, action] * w * reward[action]
    assert total == pytest.approx(float(target @ reward), abs=1e-12)


def test_more_robust_weights_give_the_variance_of_a_deterministic_target() -> None:
    """E of the weighted squared error under the log is what the model's error adds."""
    target, logging = np.array([0.0, 1.0]), np.array([0.7, 0.3])
    wrong = np.array([1.3, -0.6])
    weighted = (logging * weights.more_robust(target, logging) * wrong**2).sum()
    values = [(target[a] / logging[a]) * wrong[a] for a in range(2)]
    first = sum(logging[a] * values[a] for a in range(2))
    variance = sum(logging[a] * values[a] ** 2 for a in range(2)) - first**2
    assert weighted == pytest.approx(variance, abs=1e-12)


def test_zero_logging_probability_of_a_logged_action_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1"):
        Rows(np.arange(2), 2, np.ones(2), np.ones(2), np.array([0.5, 0.0]))
