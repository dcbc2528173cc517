"""Resampled users: the draws are those of the textbook, and their interval keeps its level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from simulator.replay.estimators.bootstrap import replicates, user_bootstrap
from simulator.replay.estimators.intervals import Estimate
from simulator.replay.estimators.linear import ratio_of_sums


def sample(seed: int, users: int, tail: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """Sums per user: rows, and times with a long tail. The ratio's truth is 3."""
    random = np.random.default_rng(seed)
    rows = random.poisson(4.0, users).astype(np.float64)
    mean = np.exp(tail**2 / 2.0)
    times = 3.0 * random.lognormal(0.0, tail, users) / mean
    return rows * times, rows


def test_one_draw_is_the_ratio_and_the_error_of_the_users_that_were_drawn() -> None:
    top, bottom = sample(1, 12)
    found = replicates(top, bottom, draws=3, seed=5)
    assert found is not None
    counts = (top != 0.0) | (bottom > 0.0)
    n = int(counts.sum())
    chance = np.append(np.full(n, 1.0 / 12.0), (12.0 - n) / 12.0)
    drawn = np.random.default_rng(5).multinomial(12, chance, size=3)[:, :n]
    for times, value, error in zip(drawn, *found, strict=True):
        a, b = np.repeat(top[counts], times), np.repeat(bottom[counts], times)
        assert value == pytest.approx(a.sum() / b.sum(), rel=1e-12)
        influence = (a - value * b) / b.sum()
        assert error == pytest.approx(np.sqrt((influence**2).sum()), rel=1e-9)


def test_draws_spread_as_those_of_scipy() -> None:
    top, bottom = sample(2, 300)
    ours = replicates(top, bottom, draws=20_000, seed=1)
    assert ours is not None
    theirs = stats.bootstrap(
        (top, bottom), lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True,
        vectorized=True, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2),
    )  # fmt: skip
    share = [0.025, 0.25, 0.5, 0.75, 0.975]
    spread = theirs.bootstrap_distribution.std()
    expected = np.quantile(theirs.bootstrap_distribution, share)
    assert np.quantile(ours[0], share) == pytest.approx(expected, abs=0.1 * spread)


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    top, bottom = sample(3, 40)
    whole = user_bootstrap(top, bottom, draws=200, seed=3)
    monkeypatch.setattr("simulator.replay.estimators.bootstrap._CELLS", 41 * 7)
    assert user_bootstrap(top, bottom, draws=200, seed=3) == whole


def test_many_ordinary_users_have_the_interval_of_student() -> None:
    random = np.random.default_rng(4)
    bottom = np.full(2_000, 5.0)
    top = bottom * random.normal(3.0, 1.0, 2_000)
    found = user_bootstrap(top, bottom, draws=8_000, seed=1)
    linear = ratio_of_sums(top, bottom)
    assert found is not None and linear is not None
    plain = Estimate.of(linear)
    assert plain is not None and None not in (found.low, found.high, plain.low, plain.high)
    assert found.value == pytest.approx(plain.value)
    assert found.low == pytest.approx(plain.low, abs=0.05 * plain.standard_error)
    assert found.high == pytest.approx(plain.high, abs=0.05 * plain.standard_error)


def test_a_long_tail_is_covered_as_promised_and_missed_by_the_plain_standard_error() -> None:
    covered = plain = 0
    for seed in range(400):
        top, bottom = sample(100 + seed, 60)
        found = user_bootstrap(top, bottom, draws=400, seed=seed)
        assert found is not None
        covered += found.covers(3.0)
        plain += abs(found.value - 3.0) <= 1.96 * found.standard_error
    # Standard error of a share of 400: .011.
    assert plain < 0.91 * 400 < covered


def test_without_users_there_is_nothing_to_draw() -> None:
    one = np.array([1.0, 0.0, 0.0])
    assert user_bootstrap(one, one) is None
    assert user_bootstrap(np.zeros(5), np.zeros(5)) is None


def test_a_ratio_that_hangs_on_one_user_has_no_bounds() -> None:
    """A draw without that user has no weight at all."""
    top, bottom = np.array([5.0, 1e-300, 0.0]), np.array([2.0, 0.0, 0.0])
    found = user_bootstrap(top, bottom, draws=500, seed=1)
    assert found is not None and (found.low, found.high) == (None, None)
