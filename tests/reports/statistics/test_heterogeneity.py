"""Segments against analysis of variance, meta-analysis, Fieller and simulation."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats
from statsmodels.regression.linear_model import WLS
from statsmodels.stats.meta_analysis import combine_effects

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.heterogeneity import (
    heterogeneity,
    interaction_test,
    interactions_adjusted,
)
from reports.statistics.lift import compare
from reports.statistics.moments import Moments
from reports.statistics.multiplicity import holm


def arm(value: float, variance: float, users: int = 1_000) -> ArmEstimate:
    return ArmEstimate(users, value, value, variance, variance)


def means(x: np.ndarray) -> Moments:
    return Moments.of(np.column_stack([x, np.ones(len(x))]))


ARMS = [
    (arm(5.0, 0.02), arm(5.4, 0.03)),
    (arm(2.0, 0.05), arm(2.0, 0.01)),
    (arm(9.0, 0.04), arm(9.9, 0.06)),
    (arm(1.0, 0.01), arm(1.5, 0.01)),
]


def test_absolute_interaction_is_cochrans_q() -> None:
    effects = np.array([b.value - a.value for a, b in ARMS])
    variances = np.array([a.variance + b.variance for a, b in ARMS])
    expected = combine_effects(effects, variances)
    result = interaction_test(ARMS, relative=False)
    assert result.statistic == pytest.approx(expected.q, rel=1e-9)
    assert result.p_value == pytest.approx(stats.chi2.sf(expected.q, 3), rel=1e-9)
    assert result.common == pytest.approx(expected.mean_effect_fe, rel=1e-9)
    assert result.inconsistency == pytest.approx(expected.i2, rel=1e-9)


def test_absolute_interaction_is_the_wald_test_of_the_interaction_terms() -> None:
    """The saturated regression on cell means, weighted by their known variances."""
    values = np.array([cell.value for pair in ARMS for cell in pair])
    variances = np.array([cell.variance for pair in ARMS for cell in pair])
    treated = np.tile([0.0, 1.0], 4)
    segment = np.repeat(np.eye(4), 2, axis=0)
    design = np.column_stack([segment, treated, segment[:, 1:] * treated[:, None]])
    fitted = WLS(values, design, weights=1 / variances).fit(cov_type="fixed scale")
    terms = np.eye(8)[5:]
    wald = fitted.wald_test(terms, use_f=False, scalar=True)
    assert interaction_test(ARMS, relative=False).statistic == pytest.approx(wald.statistic)


def test_relative_interaction_of_quiet_controls_is_cochrans_q_of_lifts() -> None:
    arms = [(arm(a.value, 1e-14), b) for a, b in ARMS]
    lifts = np.array([b.value / a.value - 1 for a, b in arms])
    variances = np.array([b.variance / a.value**2 for a, b in arms])
    expected = combine_effects(lifts, variances)
    result = interaction_test(arms)
    assert result.statistic == pytest.approx(expected.q, rel=1e-6)
    assert result.common == pytest.approx(expected.mean_effect_fe, rel=1e-6)


@given(
    cells=st.lists(
        st.tuples(
            st.floats(0.2, 20.0), st.floats(-0.5, 1.0), st.floats(1e-4, 0.5), st.floats(1e-4, 0.5)
        ),
        min_size=2,
        max_size=5,
    ),
    scale=st.floats(0.01, 100.0),
)
@settings(deadline=None)
def test_relative_interaction_is_the_least_of_a_fine_grid_whatever_the_unit(
    cells: list[tuple[float, float, float, float]], scale: float
) -> None:
    arms = [(arm(a, va), arm(a * (1 + r), vb)) for a, r, va, vb in cells]
    result = interaction_test(arms)
    lifts = [b.value / a.value for a, b in arms]
    grid = np.linspace(min(lifts), max(lifts), 20_001)
    q = sum((b.value - grid * a.value) ** 2 / (b.variance + grid**2 * a.variance) for a, b in arms)
    assert result.statistic <= float(np.min(q)) + 1e-9
    assert result.statistic == pytest.approx(float(np.min(q)), rel=1e-3, abs=1e-3)
    assert min(lifts) - 1 - 1e-9 <= result.common <= max(lifts) - 1 + 1e-9
    other = interaction_test(
        [
            (
                arm(a.value * scale, a.variance * scale**2),
                arm(b.value * scale, b.variance * scale**2),
            )
            for a, b in arms
        ]
    )
    assert other.statistic == pytest.approx(result.statistic, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("lift", [-0.5, 0.0, 1.5])
def test_equal_lifts_are_their_own_common_lift(lift: float) -> None:
    arms = [(arm(a, 0.01), arm(a * (1.0 + lift), 0.02)) for a in (1.0, 2.0, 8.0)]
    result = interaction_test(arms)
    assert (result.common, result.statistic, result.p_value) == (lift, 0.0, 1.0)
    assert (result.inconsistency, result.degrees_of_freedom) == (0.0, 2)


def segment_data(
    rng: np.random.Generator, lifts: tuple[float, ...]
) -> dict[str, tuple[Moments, Moments]]:
    """Zero-inflated log-normal watch time; segments differ in size and level; 1:3 split."""
    result = {}
    for index, lift in enumerate(lifts):
        users = (300, 800, 1_500)[index]
        level = (5.0, 20.0, 60.0)[index]
        parts = [
            means((1 + change) * level * rng.binomial(1, 0.6, n) * rng.lognormal(0.0, 0.8, n))
            for n, change in ((users, 0.0), (3 * users, lift))
        ]
        result[f"segment {index}"] = (parts[0], parts[1])
    return result


def test_the_same_lift_everywhere_is_no_interaction_of_lifts() -> None:
    rng = np.random.default_rng(91)
    relative, absolute = [], []
    for _ in range(1_000):
        arms = [estimate_arms(pair) for pair in segment_data(rng, (0.3, 0.3, 0.3)).values()]
        pairs = [(first, second) for first, second in arms]
        relative.append(interaction_test(pairs).p_value)
        absolute.append(interaction_test(pairs, relative=False).p_value)
    # Three standard errors of Binomial(1,000, .05) are 2.1 points.
    assert abs(np.mean(np.array(relative) < 0.05) - 0.05) < 0.021
    assert np.mean(np.array(absolute) < 0.05) > 0.9


def test_segments_are_holm_corrected_and_their_intervals_agree() -> None:
    rng = np.random.default_rng(92)
    for _ in range(200):
        data = segment_data(rng, (0.15, -0.05, 0.06))
        result = heterogeneity(data)
        plain = [compare(*estimate_arms(pair)) for pair in data.values()]
        assert [s.comparison.p_value for s in result.segments] == pytest.approx(
            [c.p_value for c in plain]
        )
        adjusted = holm([c.p_value for c in plain])
        assert [s.p_adjusted for s in result.segments] == pytest.approx(adjusted)
        for segment in result.segments:
            absolute, relative = segment.comparison.absolute, segment.comparison.relative
            assert relative is not None
            for interval in (absolute, relative):
                assert interval.low is not None
                assert interval.high is not None
                excluded = interval.low > 0 or interval.high < 0
                assert excluded == (segment.p_adjusted < 0.05)
    assert [s.users for s in result.segments] == [1_200, 3_200, 6_000]


def test_a_real_interaction_is_found_in_the_segmentation_that_has_it() -> None:
    rng = np.random.default_rng(93)
    real = heterogeneity(segment_data(rng, (0.0, 0.5, 0.0))).interaction
    none = heterogeneity(segment_data(rng, (0.1, 0.1, 0.1))).interaction
    adjusted = interactions_adjusted({"activity": real, "phone": none})
    assert adjusted["activity"] == pytest.approx(min(1.0, 2 * real.p_value))
    assert adjusted["activity"] < 0.001
    assert adjusted["phone"] > 0.05


def test_segments_that_cannot_be_compared_are_named() -> None:
    rng = np.random.default_rng(94)
    good = (means(rng.normal(5, 1, 50)), means(rng.normal(5, 1, 50)))
    with pytest.raises(StatisticsError, match="two segments"):
        heterogeneity({"all": good})
    with pytest.raises(StatisticsError, match="segment 'new': a variance needs"):
        heterogeneity({"old": good, "new": (means(np.ones(1)), good[1])})
    with pytest.raises(StatisticsError, match="does not vary"):
        heterogeneity({"old": good, "new": (means(np.ones(5)), means(np.ones(5)))})
    with pytest.raises(StatisticsError, match="no relative effect"):
        interaction_test([(arm(0.0, 1.0), arm(1.0, 1.0)), (arm(1.0, 1.0), arm(1.0, 1.0))])
