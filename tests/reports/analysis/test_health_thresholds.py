"""Thresholds of the checks: each is probed on both sides, so that moving one fails a test."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from reports.analysis.health import health_checks
from reports.plan import AnalysisPlan, Metric
from reports.results import HealthCheck
from reports.statistics.checks import tails
from reports.statistics.checks.srm import sample_ratio_p_value
from reports.users.table import UserTable
from reports.verdict.words.checks import check_sentence

VALUE = Metric("value", "Value", "", ("value",))


def checks(
    values: dict[str, np.ndarray], before: dict[str, np.ndarray] | None = None
) -> dict[str, HealthCheck]:
    """Checks of a table of one metric, per arm in order of the arms' names."""
    users = pl.concat(
        pl.DataFrame({"user_id": [f"{arm}{i:06d}" for i in range(len(own))], "value": own})
        .with_columns(arm=pl.lit(arm))
        .select("user_id", "arm", "value")
        for arm, own in values.items()
    )
    known = None
    if before is not None:
        past = np.concatenate([before[arm] for arm in values])
        known = users.select("arm", "user_id").with_columns(past=past)
    table = UserTable.of_users(users, list(values), before=known)
    plan = AnalysisPlan("value", (), {}, metrics={"value": VALUE}, covariates=("past",))
    return {c.name: c for c in health_checks(table, plan, "observed", None)}


def users_with_p_value(below: float, total: int = 2_000) -> int:
    """The fewest users of an arm whose exact binomial p value is still at least ``below``."""
    sizes = range(total // 2 - 200, total // 2)
    return next(n for n in sizes if stats.binomtest(n, total, 0.5).pvalue >= below)


def test_a_split_is_broken_below_five_in_ten_thousand() -> None:
    """Fabijan et al. 2019 recommend 0.0005; at 0.05 one experiment in twenty would be void."""
    total = 2_000
    kept = users_with_p_value(0.0005, total)
    assert stats.binomtest(kept - 1, total, 0.5).pvalue > 0.0003
    for fewest, status in ((kept, "pass"), (kept - 1, "fail")):
        arms = {"a": np.ones(fewest), "b": np.ones(total - fewest)}
        assert checks(arms)["srm"].status == status


def shifted(p_value: float, users: int = 400) -> dict[str, np.ndarray]:
    """A covariate of two arms whose F test has this p value, exactly."""
    values = stats.norm.ppf((np.arange(users) + 0.5) / users)
    t = stats.t.isf(p_value / 2.0, 2 * users - 2)
    error = float(np.sqrt(2.0 * values.var(ddof=1) / users))
    return {"a": values, "b": values + t * error}


@pytest.mark.parametrize(("p_value", "status"), [(0.00105, "pass"), (0.00095, "warn")])
def test_balance_warns_below_one_in_a_thousand(p_value: float, status: str) -> None:
    arms = {"a": np.arange(400.0), "b": np.arange(400.0)}
    assert checks(arms, shifted(p_value))["balance"].status == status


def concentrated(share: float, users: int = 500) -> dict[str, np.ndarray]:
    """Two arms in which the top 1 % of all users hold this share of the whole."""
    rest = np.ones(users)
    top = users // 50
    rest[:top] = share / (1.0 - share) * (2 * users - top) / top
    order = np.arange(users)
    return {"a": rest, "b": np.where(order < top, 1.0, 1.0 + 0.0 * order)}


@pytest.mark.parametrize(("share", "status"), [(0.295, "pass"), (0.305, "warn")])
def test_outliers_warn_when_one_per_cent_hold_three_tenths(share: float, status: str) -> None:
    found = checks(concentrated(share))["outliers"]
    assert found.status == status
    assert f"{100 * share:.1f} %" in check_sentence(found)


def test_outliers_need_a_hundred_users() -> None:
    assert checks({"a": np.ones(50), "b": np.ones(49)})["outliers"].status == "not run"
    assert checks({"a": np.ones(50), "b": np.ones(50)})["outliers"].status == "pass"


def test_three_arms_take_pearsons_test_from_five_expected_users_on() -> None:
    """Cochran 1954: at an expected five and above chi-square, exact enumeration below."""
    shares = [0.9, 0.05, 0.05]
    enough, few = [90, 9, 1], [89, 9, 1]
    expected = stats.chisquare(enough, np.array(shares) * 100).pvalue
    assert sample_ratio_p_value(enough, shares) == pytest.approx(expected, rel=1e-12)
    chi_square = stats.chisquare(few, np.array(shares) * 99).pvalue
    law = stats.multinomial(99, shares)
    grid = np.array([[99 - b - c, b, c] for b in range(100) for c in range(100 - b)])
    probabilities = law.pmf(grid)
    exact = probabilities[probabilities <= law.pmf(few) * (1 + 1e-9)].sum()
    assert sample_ratio_p_value(few, shares) == pytest.approx(exact, rel=1e-9)
    assert abs(exact - chi_square) > 1e-3


@pytest.mark.parametrize(("lacking", "warns"), [(0.0095, False), (0.0105, True)])
def test_tails_warn_when_coverage_lacks_a_fifth_of_alpha(lacking: float, warns: bool) -> None:
    """At 95 % a fifth of alpha is one point: 94 % predicted coverage."""
    distortion = float(np.sqrt(lacking / tails.shortfall(1.0)))
    assert tails.shortfall(distortion) == pytest.approx(lacking, rel=1e-9)
    found = tails.tail_risk_of_pairs(_spread_of_distortion(distortion))
    assert found.distortion == pytest.approx(distortion, rel=1e-9)
    assert bool(found.warns) == warns


def _spread_of_distortion(rho: float, users: int = 1_000) -> tails.Spread:
    """Unit variance and a skewness of ``rho sqrt(n)``."""
    return tails.Spread(users, 0.0, float(users), rho * float(np.sqrt(users)) * users)
