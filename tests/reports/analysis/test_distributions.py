"""Distributions over users, heavy tails without a lift, and arms that do not vary."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import polars as pl
import pytest

from reports.analysis.analyze import analyze
from reports.plan import AnalysisPlan, Metric
from reports.render.html import render_html
from reports.results import ArmComparison, ExperimentResult

RATE = Metric("rate", "Rate", "%", ("clicks",), ("views",), percent=True)
GAIN = Metric("gain", "Gain", "EUR per user", ("clicks",))


def analysed(arms: dict[str, np.ndarray], metric: Metric) -> ExperimentResult:
    """Of float[n, 2] per arm: clicks and views."""
    frames = [
        pl.DataFrame({"clicks": own[:, 0], "views": own[:, 1]}).select(
            (pl.int_range(pl.len()) + 10_000 * number).alias("user_id"),
            pl.lit(arm).alias("arm"),
            pl.lit(0).alias("day"),
            "clicks",
            "views",
        )
        for number, (arm, own) in enumerate(arms.items())
    ]
    plan = AnalysisPlan(
        primary=metric.name, secondary=(), guardrails={}, metrics={metric.name: metric}
    )
    return analyze(pl.concat(frames), plan, control="a", treatments=["b"], simulated=False)


def first(result: ExperimentResult) -> ArmComparison:
    return result.comparisons[0]


def means(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values, np.ones(len(values))])


def test_the_distribution_of_a_percentage_is_in_per_cent() -> None:
    rng = np.random.default_rng(1)
    arms = {}
    for name in "ab":
        views = rng.integers(1, 40, 400)
        arms[name] = np.column_stack([rng.binomial(views, 0.3), views]).astype(float)
    for arm, own in zip(
        first(analysed(arms, RATE)).distributions, (arms["a"], arms["b"]), strict=True
    ):
        shares = 100.0 * own[:, 0] / own[:, 1]
        assert arm.quantiles["p50"] == pytest.approx(np.median(shares))
        assert arm.quantiles["p99"] == pytest.approx(np.quantile(shares, 0.99))
        assert arm.edges[-1] > 50.0
        assert sum(arm.shares) + arm.zero_share == pytest.approx(1.0)


def test_values_below_zero_have_quantiles_and_no_logarithmic_axis() -> None:
    rng = np.random.default_rng(2)
    arms = {name: means(rng.normal(1.0, 2.0, 300)) for name in "ab"}
    result = analysed(arms, GAIN)
    for arm, own in zip(first(result).distributions, (arms["a"], arms["b"]), strict=True):
        assert arm.quantiles["p10"] == pytest.approx(np.quantile(own[:, 0], 0.1))
        assert arm.edges == arm.shares == ()
    page = render_html(result)
    assert "Quantiles over users" in page and ", logarithmic" not in page
    above = render_html(analysed({k: np.abs(v) for k, v in arms.items()}, GAIN))
    assert ", logarithmic" in above


def test_a_tail_is_judged_for_the_difference_where_there_is_no_lift() -> None:
    """Of equal arms the skewness cancels in a difference, not in b - (1 + lift) a."""
    rng = np.random.default_rng(3)
    tails = [rng.lognormal(0.0, 1.6, 500) for _ in range(2)]
    shifted = {k: means(x - x.mean() + m) for k, x, m in zip("ab", tails, (0.02, 0.6), strict=True)}
    metric = first(analysed(shifted, GAIN)).metrics[0]
    assert metric.relative is None
    assert not any("Heavy tail" in warning for warning in metric.warnings)
    uneven = {"a": shifted["a"], "b": shifted["b"][:25]}
    warned = first(analysed(uneven, GAIN)).metrics[0].warnings
    assert any("Heavy tail" in warning for warning in warned)
    lifted = {"a": means(tails[0]), "b": means(8.0 * tails[1])}
    above = first(analysed(lifted, GAIN)).metrics[0]
    assert above.relative is not None
    assert any("Heavy tail" in warning for warning in above.warnings)


def test_arms_that_do_not_vary_but_differ_are_not_said_to_be_the_same() -> None:
    apart = first(analysed({"a": means(np.full(200, 3.0)), "b": means(np.full(200, 4.5))}, GAIN))
    (warning,) = apart.metrics[0].warnings
    assert "the control has 3, every user of the treatment 4.5" in warning
    alike = first(analysed({"a": means(np.full(200, -7.3)), "b": means(np.full(301, -7.3))}, GAIN))
    assert "Every user has the same value." in alike.metrics[0].warnings[0]


def test_one_user_is_counted_in_the_singular() -> None:
    row = first(analysed({"a": means(np.ones(1)), "b": means(np.arange(9.0))}, GAIN)).metrics[0]
    assert "There is 1 in an arm." in row.warnings[0]
    assert not re.search(r"There are 1\b", row.warnings[0])
    assert dataclasses.asdict(row)["outcome"] == "no data"
