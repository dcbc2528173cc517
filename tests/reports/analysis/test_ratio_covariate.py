"""The covariate of a ratio as one linearised column, beside numerator and denominator apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.results import MetricComparison
from reports.users.table import UserTable

CTR = Metric("ctr", "CTR", "per view", ("clicks",), ("views",))
PLAN = AnalysisPlan("ctr", (), {}, metrics={"ctr": CTR}, covariates=(), min_effect=0.0)
USERS = 1_200


def table() -> UserTable:
    rng = np.random.default_rng(3)
    taste = rng.beta(2.0, 8.0, USERS)
    frames = []
    for day in (-1, 0):
        views = rng.poisson(20.0, USERS) + 1
        frames.append(
            pl.DataFrame(
                {
                    "user_id": np.arange(USERS),
                    "arm": ["a", "b"] * (USERS // 2),
                    "day": day,
                    "clicks": rng.binomial(views, taste).astype(float),
                    "views": views.astype(float),
                }
            )
        )
    return UserTable(pl.concat(frames), ["a", "b"])


def compared(plan: AnalysisPlan) -> MetricComparison:
    result = analyze(table(), plan, control="a", treatments=["b"], simulated=False)
    return result.comparisons[0].metrics[0]


def test_one_slope_is_that_of_the_linearised_ratio_before() -> None:
    found = compared(dataclasses.replace(PLAN, ratio_covariate="linear"))
    users = table()
    x, y = (users.during[c].to_numpy() for c in ("clicks", "views"))
    x0, y0 = (users.before[c].to_numpy() for c in ("clicks", "views"))
    arms = [users.rows(arm) for arm in ("a", "b")]
    before = x0 - x0.sum() / y0.sum() * y0
    linear = np.concatenate([(x[r] - x[r].sum() / y[r].sum() * y[r]) / y[r].mean() for r in arms])
    centred = np.concatenate([before[r] - before[r].mean() for r in arms])
    theta = (linear @ centred) / (centred @ centred)
    ratios = [x[r].sum() / y[r].sum() for r in arms]
    means = [before[r].mean() for r in arms]
    expected = ratios[1] - ratios[0] - theta * (means[1] - means[0])
    assert found.absolute is not None
    assert found.absolute.value == pytest.approx(expected, rel=1e-9)
    residuals = linear - theta * centred
    errors = [residuals[k * USERS // 2 : (k + 1) * USERS // 2].std(ddof=1) for k in (0, 1)]
    half = 1.962 * np.hypot(*errors) / np.sqrt(USERS / 2)
    assert found.absolute.high - found.absolute.value == pytest.approx(half, rel=2e-3)


def test_two_slopes_are_the_default_and_another_estimate() -> None:
    parts, linear = (
        compared(plan) for plan in (PLAN, dataclasses.replace(PLAN, ratio_covariate="linear"))
    )
    assert parts.absolute is not None and linear.absolute is not None
    assert parts.absolute.value != pytest.approx(linear.absolute.value, rel=1e-6)
    assert parts.variance_reduction is not None and parts.variance_reduction > 0.3


def test_means_are_not_touched() -> None:
    clicks = Metric("clicks", "Clicks", "per user", ("clicks",))
    plan = dataclasses.replace(PLAN, primary="clicks", metrics={"clicks": clicks})
    linear = dataclasses.replace(plan, ratio_covariate="linear")
    assert compared(plan) == compared(linear)
