"""Joint balance against statsmodels' MANOVA and scipy's F test; carry-over against Welch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.multivariate.manova import MANOVA

from reports.statistics.checks.balance import carry_over, covariate_balance
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Moments


def draw(seed: int, users: tuple[int, ...], k: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(k, k))
    return [np.exp(rng.normal(size=(n, k)) @ mix * 0.3) for n in users]


@pytest.mark.parametrize("users", [(60, 40), (50, 30, 40), (20, 20, 30, 25)])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_joint_test_is_statsmodels_manova(users: tuple[int, ...], k: int) -> None:
    arms = draw(sum(users) + k, users, k)
    found = covariate_balance([Moments.of(arm) for arm in arms])
    if k == 1:
        expected = stats.f_oneway(*(arm[:, 0] for arm in arms))
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-9)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
        return
    table = pd.DataFrame(np.concatenate(arms), columns=[f"x{i}" for i in range(k)])
    table["arm"] = np.repeat([f"arm{i}" for i in range(len(users))], users)
    model = MANOVA.from_formula("+".join(table.columns[:k]) + " ~ arm", table)
    row = model.mv_test().results["arm"]["stat"].loc["Pillai's trace"]
    assert found.trace == pytest.approx(row["Value"], rel=1e-9)
    assert found.statistic == pytest.approx(row["F Value"], rel=1e-9)
    assert found.degrees_of_freedom == pytest.approx((row["Num DF"], row["Den DF"]))
    assert found.p_value == pytest.approx(row["Pr > F"], rel=1e-9)


def test_single_covariates_are_scipys_and_holm_corrected() -> None:
    arms = draw(7, (60, 40))
    found = covariate_balance([Moments.of(arm) for arm in arms]).covariates
    p_values = []
    for column, one in enumerate(found):
        assert one is not None
        expected = stats.ttest_ind(arms[0][:, column], arms[1][:, column])
        assert one.p_value == pytest.approx(expected.pvalue, rel=1e-9)
        p_values.append(one.p_value)
        assert one.largest_difference == pytest.approx(
            abs(expected.statistic) * np.sqrt(1 / 60 + 1 / 40), rel=1e-9
        )
    smallest = int(np.argmin(p_values))
    assert found[smallest].p_adjusted == pytest.approx(min(1.0, 3 * min(p_values)))  # type: ignore[union-attr]


def test_constant_and_repeated_covariates_change_nothing() -> None:
    arms = draw(8, (60, 40))
    plain = covariate_balance([Moments.of(arm) for arm in arms])
    wide = [
        np.column_stack([arm, np.full(len(arm), 0.1), arm[:, 0] - 2.0 * arm[:, 1]]) for arm in arms
    ]
    found = covariate_balance([Moments.of(arm) for arm in wide])
    assert found.p_value == pytest.approx(plain.p_value, rel=1e-6)
    assert found.covariates[3] is None


def test_heavy_tails_and_a_small_arm_keep_the_error_rate() -> None:
    """Log-normal covariates of spread 1.2, 90:900 users, 2,000 random assignments.

    Binomial: four standard deviations are 1.95 points (error rate 6e-5).
    """
    rng = np.random.default_rng(9)
    pool = np.exp(1.2 * rng.normal(size=(990, 4)))
    accused, traces = 0, 0.0
    for _ in range(2_000):
        order = rng.permutation(990)
        found = covariate_balance([Moments.of(pool[order[:90]]), Moments.of(pool[order[90:]])])
        accused += found.p_value < 0.05
        traces += found.trace
    assert abs(accused / 2_000 - 0.05) < 0.0195
    # The mean over assignments is exact; its error here is about 2 %.
    assert traces / 2_000 == pytest.approx(4 / 989, rel=0.08)


def test_arms_that_differ_are_found() -> None:
    arms = draw(10, (600, 400))
    arms[1][:, 2] *= 1.3
    found = covariate_balance([Moments.of(arm) for arm in arms])
    assert found.p_value < 1e-6
    assert found.covariates[2] is not None
    assert found.covariates[2].p_adjusted < 1e-6


def test_carry_over_is_welchs_test_of_the_past_and_its_part_of_the_present() -> None:
    rng = np.random.default_rng(11)
    tables = []
    for users, shift in ((400, 0.0), (300, 0.3)):
        past = rng.gamma(4.0, 1.0, users) + shift
        now = 0.8 * past + rng.normal(size=users)
        tables.append(np.column_stack([now, np.ones(users), past]))
    found = carry_over(*(Moments.of(t) for t in tables), before=(2, None))
    expected = stats.ttest_ind(tables[1][:, 2], tables[0][:, 2], equal_var=False)
    assert found.before.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    # Ordinary least squares within arms: 0.8 times the difference of the past.
    centred = np.concatenate([t - t.mean(axis=0) for t in tables])
    theta = centred[:, 0] @ centred[:, 2] / (centred[:, 2] @ centred[:, 2])
    gap = tables[1][:, 2].mean() - tables[0][:, 2].mean()
    assert found.removed == pytest.approx(theta * gap, rel=1e-9)
    assert found.removed_errors > 1.0


def test_carry_over_of_a_ratio_uses_its_own_denominator() -> None:
    rng = np.random.default_rng(12)
    tables = []
    for users in (300, 200):
        views = rng.poisson(20.0, (2, users)) + 1.0
        clicks = rng.binomial(views.astype(int), 0.3)
        tables.append(np.column_stack([clicks[0], views[0], clicks[1], views[1]]))
    found = carry_over(*(Moments.of(t) for t in tables), before=(2, 3))
    ratios = [t[:, 2].sum() / t[:, 3].sum() for t in tables]
    assert found.before.absolute.value == pytest.approx(ratios[1] - ratios[0], rel=1e-12)


def test_what_cannot_be_compared_is_an_error() -> None:
    arm = Moments.of(np.ones((5, 2)))
    with pytest.raises(StatisticsError, match="nothing to compare"):
        covariate_balance([arm, arm])
    with pytest.raises(StatisticsError, match="at least two arms"):
        covariate_balance([arm])
    few = [Moments.of(np.eye(4)[:2]), Moments.of(np.eye(4)[2:])]
    with pytest.raises(StatisticsError, match="more users"):
        covariate_balance([few[0], Moments.of(np.eye(4)[2:3])])
    with pytest.raises(StatisticsError, match="does not vary"):
        carry_over(*(Moments.of(np.ones((5, 3))) for _ in range(2)), before=(2, None))
