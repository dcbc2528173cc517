"""A/A splits against a loop over the ordinary analysis, closed forms and planted miscalibration."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from reports.statistics.checks.aa import aa_p_values, any_alarm, assignments, calibration
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import compare
from reports.statistics.moments import Moments
from reports.statistics.multiplicity import holm


def tables(rng: np.random.Generator, users: int) -> list[np.ndarray]:
    """A mean, an adjusted mean, a ratio, an adjusted ratio with collinear covariates."""
    habit = rng.gamma(2.0, 1.0, users)
    views = rng.poisson(8.0 * habit) + 1.0
    time = habit * views * rng.lognormal(0.0, 1.0, users)
    before = habit * rng.lognormal(0.0, 0.4, users)
    one = np.ones(users)
    return [
        np.column_stack([time + 1e4, one]),
        np.column_stack([time, one, before, habit]),
        np.column_stack([time, views]),
        np.column_stack([time, views, before, 3.0 * before, one, habit]),
    ]


def loop(columns: list[np.ndarray], chosen: np.ndarray) -> list[float]:
    """The p values of one split as `abtest run` computes them."""
    return [
        compare(*estimate_arms([Moments.of(x[~chosen]), Moments.of(x[chosen])])).p_value
        for x in columns
    ]


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_every_replicate_is_the_ordinary_analysis_of_its_split(share: float) -> None:
    columns = tables(np.random.default_rng(1), 9_000)
    p = aa_p_values(columns, replicates=140, seed=4, share=share)
    for replicate in (0, 1, 127, 128, 139):
        # Two blocks of users: the place of a user decides, not the block.
        chosen = assignments(9_000, seed=4, first=replicate, share=share)[0]
        assert p[replicate] == pytest.approx(loop(columns, chosen), rel=1e-9)


def test_a_replicate_is_the_same_split_whatever_is_asked_for() -> None:
    columns = tables(np.random.default_rng(2), 300)
    many = aa_p_values(columns, replicates=200, seed=9)
    assert np.array_equal(aa_p_values(columns, replicates=200, seed=9), many)
    # Another number of rows in a matrix product may round differently.
    assert aa_p_values(columns, replicates=3, seed=9) == pytest.approx(many[:3], rel=1e-12)
    assert not np.array_equal(aa_p_values(columns, replicates=200, seed=10), many)
    rows = assignments(300, seed=9, first=5, replicates=2)
    assert np.array_equal(rows[1], assignments(300, seed=9, first=6)[0])
    assert np.array_equal(rows[0, 160:], assignments(140, seed=9, first=5, start=160)[0])


@pytest.mark.parametrize("share", [0.5, 0.1, 0.997])
def test_shares_are_kept(share: float) -> None:
    chosen = assignments(5_000, seed=3, replicates=400, share=share)
    # Five standard errors over two million draws.
    error = 5.0 * np.sqrt(share * (1.0 - share) / chosen.size)
    assert abs(chosen.mean() - share) < error + 1.0 / 65_536
    assert stats.kstest(
        chosen.sum(axis=1), stats.binom(5_000, share).cdf
    ).statistic < 0.15  # fmt: skip


def test_well_behaved_metrics_are_calibrated() -> None:
    """Four metrics, one fixed table: by construction wrong in at most 5 % of tables."""
    p = aa_p_values(tables(np.random.default_rng(3), 4_000), replicates=2_000, seed=1)
    found = [calibration(column, family=4) for column in p.T]
    assert [f.word for f in found] == ["calibrated"] * 4
    assert all(f.replicates == 2_000 and f.refused == 0 for f in found)
    # Holm over four metrics keeps the family's rate: three standard errors are 1.5 points.
    assert any_alarm(p).mean() < 0.05 + 0.015


def test_a_test_that_ignores_clusters_is_found_out() -> None:
    """Rows of the same person entered as people: variance is underestimated twenty-fold."""
    rng = np.random.default_rng(4)
    person = rng.normal(10.0, 3.0, 200)
    split = assignments(200, seed=2, replicates=1_000)
    p = np.empty(1_000)
    for number, chosen in enumerate(split):
        a, b = (np.repeat(person[side], 20) for side in (~chosen, chosen))
        p[number] = stats.ttest_ind(a, b).pvalue
    found = calibration(p)
    assert found.word == "too many false alarms"
    assert found.low > 0.05


def test_words() -> None:
    even = (np.arange(1_000) + 0.5) / 1_000
    assert calibration(even).word == "calibrated"
    # One metric, two looks at it: its rate and the shape of its p values.
    assert calibration(even).confidence == pytest.approx(1.0 - 0.05 / 2.0)
    assert calibration(even * 0.5).word == "too many false alarms"
    assert calibration(0.2 + 0.8 * even).word == "too few false alarms"
    humped = np.where(even < 0.05, even, 0.05 + 0.95 * stats.beta(4, 4).cdf(even))
    assert calibration(humped).word == "not uniform"
    nothing = calibration(np.full(50, np.nan))
    assert nothing.word == "no data" and nothing.refused == 50
    # Nothing is known of the rate, and nothing speaks against uniform p values.
    assert (nothing.low, nothing.high, nothing.uniform_p) == (0.0, 1.0, 1.0)
    assert (nothing.replicates, nothing.alarms, nothing.rate) == (0, 0, 0.0)
    assert nothing.confidence == calibration(np.full(50, 0.5)).confidence


@pytest.mark.parametrize("alarms", [0, 3, 50, 1_000])
def test_interval_is_the_exact_one(alarms: int) -> None:
    p = np.where(np.arange(1_000) < alarms, 0.01, 0.6)
    found = calibration(p, confidence=0.95, family=3)
    expected = proportion_confint(alarms, 1_000, alpha=0.05 / 6.0, method="beta")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert found.confidence == pytest.approx(1.0 - 0.05 / 6.0)


@given(st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_the_family_alarms_exactly_when_holm_does(p_values: list[float]) -> None:
    expected = min(holm(p_values)) < 0.05
    found = any_alarm(np.array([[*p_values, np.nan]]))
    assert bool(found[0]) == expected


def test_splits_that_the_analysis_refuses_are_counted_not_invented() -> None:
    # One reader among eight: the ratio has no denominator in the other arm.
    reader = np.zeros((8, 2))
    reader[0] = (5.0, 2.0)
    p = aa_p_values([reader], replicates=60, seed=1)[:, 0]
    assert np.isnan(p).all()
    found = calibration(p)
    assert (found.word, found.refused, found.replicates) == ("no data", 60, 0)
    with pytest.raises(StatisticsError):
        estimate_arms([Moments.of(reader[:1]), Moments.of(reader[1:])])


def test_a_metric_that_its_covariate_determines_has_no_p_value() -> None:
    value = np.random.default_rng(6).normal(5.0, 1.0, 500)
    table = np.column_stack([value, np.ones(500), 2.0 * value + 1.0])
    assert np.isnan(aa_p_values([table], replicates=50)).all()


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(StatisticsError, match="nothing to split"):
        aa_p_values([np.ones((3, 2))])
    with pytest.raises(StatisticsError, match="nothing to split"):
        aa_p_values([np.ones((9, 2)), np.ones((8, 2))])
    with pytest.raises(StatisticsError, match="split is not possible"):
        aa_p_values([np.ones((9, 2))], share=1.0)
    with pytest.raises(StatisticsError, match="missing"):
        aa_p_values([np.full((9, 2), np.nan)])
