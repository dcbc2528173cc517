"""Adjusted estimates against regressions of statsmodels, every user's influence and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS

from reports.statistics.adjustment import adjusted_estimates, select_covariates
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import compare
from reports.statistics.moments import Moments


def two_arms(seed: int, sizes: tuple[int, int] = (300, 200)) -> list[np.ndarray]:
    """Columns (x, 1, c1, c2): the treatment reacts to c1 differently."""
    rng = np.random.default_rng(seed)
    arms = []
    for g, n in enumerate(sizes):
        c = rng.gamma(2.0, 1.0, (n, 2))
        x = 3.0 + 0.3 * g + c @ [1.0 + g, -0.7] + rng.normal(size=n)
        arms.append(np.column_stack([x, np.ones(n), c]))
    return arms


def stacked(arms: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.concatenate(arms)
    treated = np.repeat([0.0, 1.0], [len(arm) for arm in arms])
    return table[:, 0], treated, table[:, 2:] - table[:, 2:].mean(axis=0)


def test_by_arm_is_lins_interacted_regression() -> None:
    arms = two_arms(1)
    x, treated, c = stacked(arms)
    design = np.column_stack([np.ones(len(x)), treated, c, treated[:, None] * c])
    fitted = OLS(x, design).fit()
    found = adjusted_estimates([Moments.of(arm) for arm in arms], slopes="by arm")
    a, b = found.arms
    assert a.adjusted == pytest.approx(fitted.params[0], rel=1e-9)
    assert b.adjusted - a.adjusted == pytest.approx(fitted.params[1], rel=1e-9)
    assert found.theta[0] == pytest.approx(fitted.params[2:4], rel=1e-9)
    assert found.theta[1] == pytest.approx(fitted.params[2:4] + fitted.params[4:], rel=1e-9)


def test_by_arm_variance_is_that_of_each_arms_regression_and_of_the_sample() -> None:
    arms = two_arms(2)
    found = adjusted_estimates([Moments.of(arm) for arm in arms], slopes="by arm")
    a, b = found.arms
    variance = a.variance + b.variance - 2.0 * found.covariance[0, 1]
    expected = 0.0
    total = sum(len(arm) for arm in arms)
    tilt = found.theta[1] - found.theta[0]
    for arm in arms:
        fitted = OLS(arm[:, 0], np.column_stack([np.ones(len(arm)), arm[:, 2:]])).fit()
        expected += fitted.scale / len(arm)
        expected += len(arm) * tilt @ np.cov(arm[:, 2:].T) @ tilt / total**2
    assert variance == pytest.approx(expected, rel=1e-9)
    assert found.removed() == pytest.approx(1 - variance / (a.raw_variance + b.raw_variance))


def test_common_slopes_are_cuped() -> None:
    parts = [Moments.of(arm) for arm in two_arms(3)]
    found = adjusted_estimates(parts)
    for own, known in zip(found.arms, estimate_arms(parts), strict=True):
        assert own.adjusted == pytest.approx(known.adjusted, rel=1e-12)
        assert own.raw_variance == pytest.approx(known.raw_variance, rel=1e-12)
    a, b = found.arms
    difference = a.variance + b.variance - 2.0 * found.covariance[0, 1]
    assert difference == pytest.approx(sum(e.variance for e in estimate_arms(parts)), rel=1e-9)


def cells(arm: np.ndarray, strata: np.ndarray) -> dict[int, Moments]:
    return {s: Moments.of(arm[strata == s]) for s in np.unique(strata).tolist()}


def test_post_stratification_is_the_weighted_mean_of_strata() -> None:
    rng = np.random.default_rng(4)
    strata = [rng.choice(3, n, p=[0.5, 0.3, 0.2]) for n in (400, 250)]
    arms = [np.column_stack([5.0 * s + rng.normal(size=len(s)), np.ones(len(s))]) for s in strata]
    found = adjusted_estimates([cells(arm, s) for arm, s in zip(arms, strata, strict=True)])
    shares = np.bincount(np.concatenate(strata)) / 650
    for g, (arm, s) in enumerate(zip(arms, strata, strict=True)):
        means = np.array([arm[s == j, 0].mean() for j in range(3)])
        assert found.arms[g].adjusted == pytest.approx(float(shares @ means), rel=1e-12)
        within = sum(shares[j] ** 2 * arm[s == j, 0].var(ddof=1) / (s == j).sum() for j in range(3))
        between = (shares @ means**2 - (shares @ means) ** 2) / 650
        assert found.arms[g].variance == pytest.approx(within + between, rel=1e-9)
    assert found.removed() > 0.9


def influences(
    arms: list[np.ndarray], strata: list[np.ndarray], theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted ratio of each arm, and float64[G, N] by leaving the formula as it is written."""
    pooled, labels = np.concatenate(arms), np.concatenate(strata)
    shares = np.bincount(labels) / len(labels)
    levels = range(len(shares))
    means = [
        np.array([a[s == j].mean(axis=0) for j in levels])
        for a, s in zip(arms, strata, strict=True)
    ]
    mean = [shares @ m for m in means]
    values, rows = [], []
    for g, m in enumerate(mean):
        values.append(m[0] / m[1] - theta[g] @ (m[2:] - pooled[:, 2:].mean(axis=0)))
        u = np.concatenate([[1 / m[1], -m[0] / m[1] ** 2], -theta[g]])
        row = []
        for h, (a, s) in enumerate(zip(arms, strata, strict=True)):
            for v, j in zip(a, s, strict=True):
                n = (s == j).sum()
                own = (h == g) * shares[j] / n * u @ (v - means[g][j]) * np.sqrt(n / (n - 1))
                rest = u @ (means[g][j] - m) + theta[g] @ (v[2:] - pooled[:, 2:].mean(axis=0))
                row.append(own + rest / len(labels))
        rows.append(row)
    return np.array(values), np.array(rows)


def test_stratified_ratios_with_covariates_sum_every_users_influence() -> None:
    rng = np.random.default_rng(5)
    arms, strata = [], []
    for g, n in enumerate((600, 900)):
        s = rng.choice(2, n)
        taste = rng.gamma(2.0, 1.0, n) * (1 + s)
        views = rng.poisson(20 * taste) + 1
        clicks = rng.binomial(views, 0.2 + 0.1 * s + 0.02 * g)
        arms.append(np.column_stack([clicks, views, rng.poisson(taste), rng.poisson(4 * taste)]))
        strata.append(s)
    found = adjusted_estimates(
        [cells(arm, s) for arm, s in zip(arms, strata, strict=True)], slopes="common"
    )
    values, rows = influences(arms, strata, found.theta)
    assert [arm.adjusted for arm in found.arms] == pytest.approx(values.tolist(), rel=1e-12)
    # The written-out sum has products of shared and own parts that differ by 1 / n only.
    np.testing.assert_allclose(found.covariance, rows @ rows.T, rtol=0.01)


@pytest.mark.parametrize("slopes", ["common", "by arm"])
def test_intervals_cover_an_effect_that_depends_on_the_covariate(slopes: str) -> None:
    """1:9 split, +50 % lift; 1,500 runs: 95 % +- 1.9 points contains a correct cover in 99.9 %."""
    rng = np.random.default_rng(6)
    covered = 0
    for _ in range(1_500):
        parts = []
        for g, n in ((0, 2_700), (1, 300)):
            c = rng.exponential(1.0, n)
            x = (1.0 + 0.5 * g) * (2.0 + 3.0 * c) + rng.normal(size=n)
            parts.append(Moments.of(np.column_stack([x, np.ones(n), c])))
        found = adjusted_estimates(parts, slopes=slopes)  # type: ignore[arg-type]
        relative = compare(*found.arms, covariance=found.covariance[0, 1]).relative
        assert relative is not None
        assert relative.low is not None
        assert relative.high is not None
        covered += relative.low < 0.5 < relative.high
    assert abs(covered / 1_500 - 0.95) < 0.019


def test_selection_finds_what_explains_and_drops_copies() -> None:
    rng = np.random.default_rng(7)
    n = 4_000
    c = rng.normal(size=(n, 4))
    x = 2.0 * c[:, 2] + c[:, 0] + rng.normal(size=n)
    table = np.column_stack([x, np.ones(n), c, c[:, 2] * 3.0])
    assert select_covariates(Moments.of(table)) in ([2, 0], [4, 0])
    assert len(select_covariates(Moments.of(table), most=1)) == 1
    assert select_covariates(Moments.of(table[:40])) == []


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_chosen_covariates_are_not_chosen(seed: int) -> None:
    """What is left of a sum of two chosen ones is rounding, whatever the unit."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 500)) * 10.0 ** rng.integers(-3, 4, size=(2, 1))
    x = a / a.std() + b / b.std() + rng.normal(size=500)
    table = np.column_stack([x, np.ones(500), a, b, a + b, 3.0 * a - b])
    # Two span all four; a third one would only fit rounding errors.
    assert len(select_covariates(Moments.of(table), gain=0.0)) == 2


def test_selection_does_not_see_the_arms() -> None:
    """Swapping the labels of two arms changes no choice: only pooled moments enter."""
    parts = [Moments.of(arm) for arm in two_arms(8)]
    assert select_covariates(parts[0].merge(parts[1])) == select_covariates(
        parts[1].merge(parts[0])
    )


def test_cells_that_are_too_small_are_named() -> None:
    arm = two_arms(9)[0]
    strata = np.zeros(len(arm), dtype=int)
    strata[0] = 7
    with pytest.raises(StatisticsError, match=r"There is 1 in stratum '7' of an arm"):
        adjusted_estimates([cells(arm, strata), cells(arm, strata)])
    with pytest.raises(StatisticsError, match="too small for slopes of its own"):
        adjusted_estimates([Moments.of(arm[:3]), Moments.of(arm)], slopes="by arm")
