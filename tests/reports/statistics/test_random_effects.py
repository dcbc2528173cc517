"""Summaries of runs against statsmodels' meta-analysis, published data and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects

from reports.statistics.errors import StatisticsError
from reports.statistics.random_effects import Heterogeneity, random_effects


def runs(seed: int, k: int, tau: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.5, 4.0, k) * 1e-4
    return 0.04 + tau * rng.normal(size=k) + np.sqrt(variances) * rng.normal(size=k), variances


@pytest.mark.parametrize(
    ("method", "name"), [("dersimonian-laird", "dl"), ("paule-mandel", "iterated")]
)
@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_summary_is_that_of_statsmodels(method: Heterogeneity, name: str, seed: int) -> None:
    # In per cent, with tau well above zero: statsmodels' iteration gives up on small numbers, and
    # it lets DerSimonian and Laird's estimate fall below zero.
    effects, variances = runs(seed, 6, tau=0.05)
    effects, variances = 100.0 * effects, 1e4 * variances
    kwargs = {"atol": 1e-14, "maxiter": 10_000} if name == "iterated" else {}
    expected = combine_effects(effects, variances, method_re=name, use_t=True, alpha=0.1, **kwargs)
    found = random_effects(effects, variances, method=method, confidence=0.9, adjust=False)
    # statsmodels iterates Paule & Mandel's estimate to an absolute, not a relative error.
    tolerance = 1e-9 if name == "dl" else 1e-6
    assert found.tau**2 == pytest.approx(expected.tau2, rel=tolerance, abs=1e-12)
    assert found.mean.value == pytest.approx(expected.mean_effect_re, rel=tolerance)
    assert found.standard_error == pytest.approx(np.sqrt(expected.var_hksj_re), rel=tolerance)
    assert found.q == pytest.approx(expected.q, rel=1e-9)
    assert found.inconsistency == pytest.approx(max(expected.i2, 0.0), rel=1e-9, abs=1e-12)
    bounds = stats.t.interval(0.9, 5, expected.mean_effect_re, np.sqrt(expected.var_hksj_re))
    assert found.mean[1:] == pytest.approx(bounds, rel=1e-6)
    assert found.q_p_value == pytest.approx(expected.test_homogeneity().pvalue, rel=1e-9)


def test_runs_that_agree_have_no_spread_between_them() -> None:
    found = random_effects([0.1, 0.11, 0.09], [0.01, 0.02, 0.03])
    assert found.tau == 0.0
    assert found.inconsistency == 0.0
    expected = combine_effects(np.array([0.1, 0.11, 0.09]), np.array([0.01, 0.02, 0.03]))
    assert found.mean.value == pytest.approx(expected.mean_effect_fe, rel=1e-9)
    # The floor of q: the standard error is never below that of a common effect.
    assert found.standard_error == pytest.approx(expected.sd_eff_w_fe, rel=1e-9)


def test_bcg_trials() -> None:
    """13 vaccine trials, log risk ratios (Colditz et al. 1994), as metafor prints them.

    metafor, rma(yi, vi, method="DL", test="knha"): tau^2 .3088, Q 152.23, I^2 92.12 %, estimate
    -.7141; method="PM": tau^2 .3181.
    """
    table = np.array(
        [
            (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619),
            (33, 5036, 47, 5761), (180, 1361, 372, 1079), (8, 2537, 10, 619),
            (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
            (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
        ],
        dtype=float,
    )  # fmt: skip
    a, b, c, d = table.T
    y = np.log(a / (a + b) / (c / (c + d)))
    v = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    found = random_effects(y, v, method="dersimonian-laird")
    assert found.tau**2 == pytest.approx(0.3088, abs=5e-5)
    assert found.q == pytest.approx(152.23, abs=5e-3)
    assert 100 * found.inconsistency == pytest.approx(92.12, abs=5e-3)
    assert found.mean.value == pytest.approx(-0.7141, abs=5e-5)
    assert random_effects(y, v).tau ** 2 == pytest.approx(0.3181, abs=5e-5)


def test_equal_variances_are_the_one_sample_t_test() -> None:
    effects, _ = runs(7, 8)
    found = random_effects(effects, np.full(8, 1e-5), adjust=False)
    expected = stats.ttest_1samp(effects, 0.0)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.mean[1:] == pytest.approx(expected.confidence_interval(0.95), rel=1e-9)


@pytest.mark.parametrize("k", [3, 5, 10])
def test_mean_and_prediction_cover_with_few_runs(k: int) -> None:
    """2,000 summaries each; prediction with effects that differ more than their errors."""
    rng = np.random.default_rng(8)
    mean = new = 0
    for _ in range(2_000):
        v = rng.uniform(1.0, 2.0, k) * 1e-4
        noise = np.sqrt(v) * rng.normal(size=k)
        found = random_effects(0.04 + 0.015 * rng.normal(size=k) + noise, v)
        assert found.mean.low is not None
        assert found.mean.high is not None
        assert (found.p_value < 0.05) == (found.mean.low > 0.0 or found.mean.high < 0.0)
        mean += found.mean.low < 0.04 < found.mean.high
        wide = random_effects(0.04 + 0.05 * rng.normal(size=k) + noise, v).prediction
        assert wide.low is not None
        assert wide.high is not None
        new += wide.low < 0.04 + 0.05 * rng.normal() < wide.high
    # Four standard deviations of Binomial(2,000, .95) are 1.95 points (error rate 3e-5 each). The
    # floor of q makes the mean of few runs cautious: no upper limit there.
    assert mean / 2_000 > 0.9305
    assert new / 2_000 > 0.9305
    assert new / 2_000 < 0.9695 or k == 3  # t with one degree of freedom.


def test_what_cannot_be_summarised_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="at least two"):
        random_effects([0.1], [0.1])
    with pytest.raises(StatisticsError, match=r"Run 1: effect 0\.2, variance 0"):
        random_effects([0.1, 0.2], [0.1, 0.0])
    with pytest.raises(StatisticsError, match="cannot be weighed"):
        random_effects([0.1, float("nan")], [0.1, 0.1])
    with pytest.raises(StatisticsError, match="do not vary"):
        random_effects([0.1, 0.1], [0.1, 0.1], adjust=False)
    assert random_effects([0.1, 0.2], [0.1, 0.1]).prediction.low is None
