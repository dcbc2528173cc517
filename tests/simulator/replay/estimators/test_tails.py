from __future__ import annotations

import numpy as np
import pytest

from simulator.replay.estimators import Rows, snips
from simulator.replay.estimators.single import self_normalised_doubly_robust
from simulator.replay.estimators.tails import (
    cap_of,
    cut_share,
    quantile,
    quantile_effect,
    winsorised,
)


def drawn(seed: int, n: int = 400) -> Rows:
    """Two actions, logged 3:1, wanted 1:1; the rare one earns twice as much."""
    random = np.random.default_rng(seed)
    rare = random.random(n) < 0.25
    outcome = np.exp(random.normal(size=n)) * np.where(rare, 2.0, 1.0)
    return Rows(np.arange(n), n, outcome, np.full(n, 0.5), np.where(rare, 0.25, 0.75))


def test_a_cap_keeps_its_share_of_the_amounts_and_says_what_it_cuts() -> None:
    outcome = np.array([0.0] * 50 + list(range(1, 101)), dtype=float)
    cap = cap_of(outcome, 0.98)
    assert cap == 98.0
    assert cut_share(outcome, cap) == pytest.approx((1 + 2) / 5050)
    assert cut_share(outcome, 100.0) == 0.0
    assert cap_of(np.zeros(4)) == 0.0
    assert cut_share(np.zeros(4), 0.0) == 0.0


def test_a_winsorised_mean_is_snips_of_the_capped_outcome() -> None:
    rows = drawn(1)
    found = winsorised(rows, 3.0)
    expected = snips(rows.weight, np.minimum(rows.outcome, 3.0), rows.user, rows.n_users)
    assert found is not None
    assert expected is not None
    assert found.value == expected.value
    assert (found.influence == expected.influence).all()
    huge = rows.outcome.copy()
    huge[7] = 1e9
    moved = winsorised(Rows(rows.user, 400, huge, rows.target, rows.logging), 3.0)
    assert moved is not None
    assert abs(moved.value - found.value) < 0.02


def test_with_a_model_it_is_doubly_robust_for_the_capped_outcome() -> None:
    plain = drawn(2)
    model = np.where(plain.logging == 0.25, 3.0, 1.5)
    rows = Rows(plain.user, 400, plain.outcome, plain.target, plain.logging, model,
                np.full(400, 2.25))  # fmt: skip
    capped = Rows(plain.user, 400, np.minimum(plain.outcome, 2.0), plain.target, plain.logging,
                  model, np.full(400, 2.25))  # fmt: skip
    found, expected = winsorised(rows, 2.0), self_normalised_doubly_robust(capped)
    assert found is not None
    assert expected is not None
    assert found.value == expected.value


def test_equal_weights_give_the_sample_quantile_and_woodruffs_bounds() -> None:
    outcome = np.random.default_rng(3).permutation(np.arange(1.0, 401.0))
    rows = Rows(np.arange(400), 400, outcome, np.full(400, 0.5), np.full(400, 0.5))
    found = quantile(rows, 0.5)
    assert found is not None
    assert found.value == 200.0
    # The share below is 0.5 +- 1.966 * 0.025.
    assert found.low == pytest.approx(200 - 19.7, abs=1.01)
    assert found.high == pytest.approx(200 + 19.7, abs=1.01)
    assert quantile(rows, 0.9).value == 360.0  # type: ignore[union-attr]
    edge = quantile(rows, 0.0025)
    assert edge is not None
    assert edge.low is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        quantile(rows, 1.0)
    assert quantile(Rows(np.arange(2), 2, outcome[:2], np.zeros(2), np.ones(2)), 0.5) is None


def test_a_weighted_median_is_that_of_the_target_and_covered() -> None:
    """Half exp(z), half 2 exp(z): the median of the mixture is sqrt(2), by symmetry of the logs."""
    truth, hits, values = np.sqrt(2.0), [], []
    for seed in range(300):
        found = quantile(drawn(100 + seed), 0.5)
        assert found is not None
        hits.append(found.covers(truth))
        values.append(found.value)
    assert np.mean(values) == pytest.approx(truth, rel=0.02)
    assert 0.915 < np.mean(hits) < 0.985


def test_a_weighted_quantile_is_that_of_rows_repeated_by_their_weights() -> None:
    """Weights 2, 1 and 0 by brute force: each row as often as it weighs."""
    random = np.random.default_rng(9)
    outcome = random.exponential(size=301)
    times = random.integers(0, 3, 301)
    rows = Rows(np.arange(301), 301, outcome, times / 4, np.full(301, 0.25))
    for share in (0.1, 0.5, 0.9, 0.99):
        expected = np.quantile(np.repeat(outcome, times), share, method="inverted_cdf")
        assert quantile(rows, share).value == expected  # type: ignore[union-attr]


def two_targets(seed: int, people: int = 150) -> tuple[Rows, Rows]:
    """Actions 0 and 1, logged alike; action 1 lasts twice as long. Users differ in their pace."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(people), 4)
    action = random.integers(0, 2, len(user))
    pace = np.exp(0.5 * random.normal(size=people))[user]
    outcome = random.exponential(size=len(user)) * pace * (1.0 + action)
    logging = np.full(len(user), 0.5)
    return tuple(  # type: ignore[return-value]
        Rows(user, people, outcome, np.where(action == 1, p, 1 - p), logging) for p in (0.8, 0.3)
    )


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_difference_of_two_quantiles_is_covered_and_its_interval_paired(share: float) -> None:
    big = np.random.default_rng(1)
    pace = np.exp(0.5 * big.normal(size=2_000_000)) * big.exponential(size=2_000_000)
    truth = [
        float(np.quantile(pace * np.where(big.random(len(pace)) < p, 2.0, 1.0), share))
        for p in (0.8, 0.3)
    ]
    hits, alone, widths = [], [], []
    for seed in range(400):
        a, b, gap = quantile_effect(*two_targets(seed), share)
        assert a is not None and b is not None and gap is not None
        assert gap.value == a.value - b.value
        hits.append(gap.covers(truth[0] - truth[1]))
        alone.append(float(np.hypot(a.width(), b.width())))
        widths.append(gap.width())
    # Standard error of a share of 400: .011.
    assert 0.92 < np.mean(hits) < 0.985
    assert abs(np.mean(widths) / np.mean(alone) - 1.0) > 0.1


def test_the_largest_outcome_of_a_small_log_is_no_upper_bound() -> None:
    """A share of 3.69 / n may lie above all n of them, and the 97.5 % limit says no less."""
    outcome = np.arange(1.0, 101.0)
    rows = Rows(np.arange(100), 100, outcome, np.full(100, 0.5), np.full(100, 0.5))
    assert quantile(rows, 0.999).high is None  # type: ignore[union-attr]
    same = Rows(np.arange(100), 100, np.full(100, 7.0), np.full(100, 0.5), np.full(100, 0.5))
    assert quantile(same, 1.0 - 3.6 / 100).high is None  # type: ignore[union-attr]
    assert quantile(same, 1.0 - 3.8 / 100).high == 7.0  # type: ignore[union-attr]
    assert quantile(same, 3.6 / 100).low is None  # type: ignore[union-attr]


def test_where_one_quantile_has_no_bound_the_difference_has_none_there() -> None:
    rows = drawn(6, 40)
    even = Rows(rows.user, 40, rows.outcome, rows.logging, rows.logging)
    a, b, gap = quantile_effect(rows, even, 0.995)
    assert a is not None and b is not None and gap is not None
    assert a.high is None
    assert gap.high is None
    assert quantile_effect(rows, rows.with_weight(np.zeros(40)), 0.5)[1:] == (None, None)
