from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from simulator.replay.models.boosting import Boosting
from simulator.replay.models.crossfit import FOLDS, CrossFit, fold_of, row_weights
from simulator.replay.models.regression import Logistic, Ridge, TwoPart, for_outcome


def _data(n: int = 4_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(2.0, 3.0, (n, 3))
    return x, random.uniform(0.5, 2.0, n), random.normal(0.0, 1.0, n)


def test_ridge_is_least_squares_where_the_penalty_is_nothing() -> None:
    x, weight, noise = _data()
    y = 1.0 + x @ [0.5, -1.0, 0.0] + noise
    model = Ridge(penalty=1e-9)
    model.fit(x, y, weight)
    design = np.column_stack([np.ones(len(x)), x])
    root = np.sqrt(weight)
    beta = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(model.predict(x), design @ beta, atol=1e-8)


def test_logistic_is_maximum_likelihood() -> None:
    x, weight, _ = _data(1_500)
    random = np.random.default_rng(2)
    y = (random.random(len(x)) < 1 / (1 + np.exp(-(x @ [0.3, -0.2, 0.0])))).astype(float)
    model = Logistic(penalty=1e-9)
    model.fit(x, y, weight)
    design = np.column_stack([np.ones(len(x)), x])
    share = weight / weight.mean()

    def loss(beta: np.ndarray) -> float:
        z = design @ beta
        return float((share * (np.logaddexp(0, z) - y * z)).sum())

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(model.predict(x), 1 / (1 + np.exp(-design @ best)), atol=1e-4)


def test_two_part_recovers_chance_times_amount() -> None:
    random = np.random.default_rng(3)
    x = random.normal(0.0, 1.0, (40_000, 1))
    chance = 1 / (1 + np.exp(-x[:, 0]))
    y = np.where(
        random.random(len(x)) < chance, 10.0 + 2.0 * x[:, 0] + random.normal(0, 1, len(x)), 0.0
    )
    model = TwoPart(cap_quantile=1.0)
    model.fit(x, y, np.ones(len(x)))
    expected = chance * (10.0 + 2.0 * x[:, 0])
    assert np.abs(model.predict(x) - expected).mean() < 0.15
    assert isinstance(for_outcome(y), TwoPart)
    assert isinstance(for_outcome((y > 0).astype(float)), Logistic)
    assert isinstance(for_outcome(y + 100.0), Ridge)
    nothing = TwoPart()
    nothing.fit(x, np.zeros(len(x)), np.ones(len(x)))
    assert (nothing.predict(x) == 0).all()


def _crossfit(outcome: np.ndarray, user: np.ndarray, item: np.ndarray) -> CrossFit:
    context = np.column_stack([np.arange(len(user)) % 6]).astype(float)
    return CrossFit(
        user, item, 8, outcome, weight=np.ones(len(user)), context=context,
        group=np.array([0, 0, 0, 0, 1, 1, 1, -1]),
    )  # fmt: skip


def test_a_users_own_outcomes_never_reach_the_users_prediction() -> None:
    random = np.random.default_rng(4)
    user = np.repeat(np.arange(40), 20).astype(np.int32)
    item = random.integers(0, 8, len(user)).astype(np.int32)
    outcome = random.normal(item, 1.0)
    before = _crossfit(outcome, user, item)
    fold = before.fold[user == 3][0]
    changed = np.where(fold_of(user) == fold, 1e3, outcome)
    after = _crossfit(changed, user, item)
    mine = np.flatnonzero(user == 3)
    everything = np.tile(np.arange(8, dtype=np.int32), (len(mine), 1))
    np.testing.assert_array_equal(before.predict(mine, everything), after.predict(mine, everything))
    other = np.flatnonzero(before.fold != fold)[:5]
    assert not np.allclose(
        before.predict(other, everything[:5]), after.predict(other, everything[:5])
    )


def test_predictions_know_items_and_leave_padding_at_zero() -> None:
    random = np.random.default_rng(5)
    user = np.repeat(np.arange(300), 20).astype(np.int32)
    item = random.integers(0, 8, len(user)).astype(np.int32)
    outcome = 2.0 * item + random.normal(0, 0.5, len(user))
    outcome[::50] = np.nan
    fitted = _crossfit(outcome, user, item)
    cells = np.array([[0, 7, -1]], dtype=np.int32)
    found = fitted.predict(np.array([0]), cells)[0]
    assert found[0] == pytest.approx(0.0, abs=1.0)
    assert found[1] == pytest.approx(14.0, abs=1.0)
    assert found[2] == 0.0
    np.testing.assert_allclose(fitted.of_shown(item), 2.0 * item, atol=1.5)


def test_folds_split_users_and_weights_are_capped() -> None:
    fold = fold_of(np.arange(10_000, dtype=np.int32))
    assert np.bincount(fold, minlength=FOLDS).min() > 1_800
    weight = row_weights(np.array([0.5, 0.5, 0.5, 0.001]))
    np.testing.assert_allclose(weight, [2.0, 2.0, 2.0, 40.0])


def test_boosting_learns_what_a_line_cannot() -> None:
    random = np.random.default_rng(6)
    x = random.uniform(-1, 1, (4_000, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(float)
    model = Boosting()
    model.fit(x, y, np.ones(len(x)))
    assert ((model.predict(x) > 0.5) == (y > 0.5)).mean() > 0.95
    amounts = Boosting()
    amounts.fit(x, 5 * y + 1.0, np.ones(len(x)))
    assert np.abs(amounts.predict(x) - 5 * y - 1.0).mean() < 0.5
