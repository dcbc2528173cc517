"""The sequential check of the split against quadrature, a product of predictions and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from reports.statistics.checks.srm import (
    _multinomial,
    _splits,
    sample_ratio_p_value,
    sequential_sample_ratio,
)
from reports.statistics.errors import StatisticsError


def test_evidence_is_the_likelihood_ratio_averaged_over_the_prior() -> None:
    n, m, share, concentration = 70, 20, 0.6, 50.0

    def ratio(p: float) -> float:
        likelihood = (p / share) ** n * ((1 - p) / (1 - share)) ** m
        return float(likelihood * stats.beta.pdf(p, share * concentration, 0.4 * concentration))

    expected = 1.0 / integrate.quad(ratio, 0.0, 1.0, epsrel=1e-12)[0]
    found = sequential_sample_ratio([[n, m]], [3, 2], concentration=concentration)
    assert found == pytest.approx([expected], rel=1e-8)


def test_evidence_is_the_product_of_one_step_predictions() -> None:
    """User by user: the predicted share of the arm drawn, over the planned one."""
    rng = np.random.default_rng(81)
    planned = np.array([0.5, 0.3, 0.2])
    arms = rng.choice(3, size=400, p=[0.3, 0.4, 0.3])
    counts = np.eye(3)[arms].cumsum(axis=0)
    before = np.vstack([np.zeros(3), counts[:-1]])
    predicted = (100.0 * planned + before) / (100.0 + before.sum(axis=1, keepdims=True))
    steps = predicted[np.arange(400), arms] / planned[arms]
    expected = np.minimum(1.0, 1.0 / np.maximum.accumulate(np.cumprod(steps)))
    found = sequential_sample_ratio(counts, planned.tolist(), concentration=100.0)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found[-1] < 1e-3


@pytest.mark.parametrize("concentration", [10.0, 1_000.0, 10_000.0])
def test_a_right_split_is_accused_in_at_most_five_per_cent(concentration: float) -> None:
    """2,000 experiments, 200 looks at up to 40,000 users, three arms 8:1:1."""
    rng = np.random.default_rng(82)
    steps = rng.multinomial(200, [0.8, 0.1, 0.1], size=(2_000, 200))
    accused = peeking = 0
    for counts in steps.cumsum(axis=1):
        accused += (
            sequential_sample_ratio(counts, [8, 1, 1], concentration=concentration)[-1] <= 0.05
        )
        expected = counts.sum(axis=1, keepdims=True) * [0.8, 0.1, 0.1]
        chi_square = ((counts - expected) ** 2 / expected).sum(axis=1)
        peeking += (chi_square > stats.chi2.isf(0.05, 2)).any()
    assert accused / 2_000 <= 0.05
    assert peeking / 2_000 > 0.25


def test_a_wrong_split_is_found_while_it_runs() -> None:
    """Two per cent of the treatment's users are lost."""
    rng = np.random.default_rng(83)
    steps = rng.multinomial(2_000, [0.5 / 0.99, 0.49 / 0.99], size=(200, 200))
    p_values = np.array([sequential_sample_ratio(c, [1, 1]) for c in steps.cumsum(axis=1)])
    assert (p_values[:, -1] < 0.05).mean() > 0.99
    assert (np.diff(p_values, axis=1) <= 0.0).all()
    # Found with far fewer users than in all.
    assert np.median((p_values >= 0.05).sum(axis=1)) < 150


def test_few_users_in_three_arms_are_tested_exactly() -> None:
    """Against the sum over all splits, written out."""
    counts, shares = (9, 1, 5), (0.5, 0.3, 0.2)
    law = stats.multinomial(15, shares)
    seen = law.pmf(counts)
    total = sum(
        law.pmf([i, j, 15 - i - j])
        for i in range(16)
        for j in range(16 - i)
        if law.pmf([i, j, 15 - i - j]) <= seen * (1.0 + 1e-9)
    )
    assert sample_ratio_p_value(counts, shares) == pytest.approx(total, rel=1e-9)
    # The exact test of two arms is the same rule.
    assert _multinomial(np.array([9.0, 3.0]), np.array([0.5, 0.5])) == pytest.approx(
        stats.binomtest(9, 12).pvalue, rel=1e-9
    )


def test_few_users_are_accused_no_more_often_than_promised() -> None:
    """All splits of 20 users, weighed by their probability: no simulation."""
    shares = np.array([0.8, 0.1, 0.1])
    splits = _splits(20, 3)
    assert len(splits) == 231
    p_values = np.array([sample_ratio_p_value(s.tolist(), shares.tolist()) for s in splits])
    weight = stats.multinomial(20, shares).pmf(splits)
    assert weight.sum() == pytest.approx(1.0)
    for alpha in (0.01, 0.05, 0.2):
        assert weight[p_values <= alpha].sum() <= alpha
    # Pearson's chi-square is not good enough there.
    chi_square = stats.chisquare(splits, shares * 20, axis=1).pvalue
    assert weight[chi_square <= 0.01].sum() > 0.01


def test_a_rare_arm_among_many_users_is_tested_by_itself() -> None:
    shares = [0.5, 0.4999, 0.0001]
    expected = 3.0 * stats.binomtest(12, 20_012, 0.0001).pvalue
    assert sample_ratio_p_value([10_000, 10_000, 12], shares) == pytest.approx(expected, rel=1e-9)
    assert sample_ratio_p_value([10_000, 10_000, 2], shares) > 0.5


def test_one_look_is_more_cautious_than_the_final_test() -> None:
    assert sequential_sample_ratio([10_412, 9_588], [1, 1])[0] > sample_ratio_p_value(
        [10_412, 9_588], [1, 1]
    )


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(StatisticsError, match="counts fall"):
        sequential_sample_ratio([[5, 5], [4, 7]], [1, 1])
    with pytest.raises(StatisticsError, match="cannot be checked"):
        sequential_sample_ratio([[5, 5]], [1, 0])
    with pytest.raises(StatisticsError, match="cannot be checked"):
        sequential_sample_ratio([[5, 5]], [1, 1, 1])
    for counts, planned in (([5, 5], [1, -1]), ([0, 0], [1, 1]), ([5.5, 1], [1, 1]), ([5], [1])):
        with pytest.raises(StatisticsError, match="whole numbers"):
            sample_ratio_p_value(counts, planned)
    assert sequential_sample_ratio([[0, 0]], [1, 1]) == pytest.approx([1.0])
