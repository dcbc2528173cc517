"""Adjusted p values against statsmodels, closed testing and simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import stats
from statsmodels.stats.multitest import multipletests

from reports.statistics.errors import StatisticsError
from reports.statistics.multiplicity import (
    adjusted_confidence,
    benjamini_hochberg,
    benjamini_yekutieli,
    gatekeeping,
    graphical,
    holm,
    selected_confidence,
)

p_lists = st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=12)


@given(p_lists)
def test_false_discovery_rates_are_statsmodels(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], rel=1e-12)
    assert benjamini_yekutieli(p) == pytest.approx(multipletests(p, method="fdr_by")[1], rel=1e-12)


def test_benjamini_hochberg_on_the_published_example() -> None:
    """Benjamini & Hochberg 1995, section 3: four of 15 p values are rejected."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert sum(value <= 0.05 for value in benjamini_hochberg(p)) == 4
    assert selected_confidence(p) == pytest.approx(1 - 4 * 0.05 / 15)


@given(p=p_lists, q=st.floats(0.01, 0.4), any_dependence=st.booleans())
def test_selected_intervals_agree_with_adjusted_p(
    p: list[float], q: float, any_dependence: bool
) -> None:
    adjusted = (benjamini_yekutieli if any_dependence else benjamini_hochberg)(p)
    level = selected_confidence(p, confidence=1 - q, any_dependence=any_dependence)
    for own, value in zip(p, adjusted, strict=True):
        if abs(value - q) > 1e-9:
            # The unadjusted interval at this level excludes zero iff p is below 1 - level.
            assert (own < 1 - level) == (value < q)


def test_selected_intervals_cover_as_promised() -> None:
    """Benjamini & Yekutieli 2005: naive 95 % intervals of the winners cover far less."""
    rng = np.random.default_rng(41)
    truth = np.concatenate([np.zeros(40), np.full(10, 2.0)])
    missed, naive = [], []
    for _ in range(1_500):
        z = truth + rng.standard_normal(50)
        p = 2 * stats.norm.sf(np.abs(z))
        chosen = np.array(benjamini_hochberg(p.tolist())) <= 0.1
        level = selected_confidence(p.tolist(), confidence=0.9)
        if chosen.any():
            gap = np.abs(z - truth)[chosen]
            missed.append((gap > stats.norm.isf((1 - level) / 2)).mean())
            naive.append((gap > stats.norm.isf(0.05)).mean())
        else:
            missed.append(0.0)
            naive.append(0.0)
    assert np.mean(missed) <= 0.1
    assert np.mean(naive) > 0.15


def test_gatekeeping_by_hand() -> None:
    families = [[0.01, 0.02], [0.001, 0.2], [0.0001]]
    assert gatekeeping(families) == [
        pytest.approx([0.02, 0.02]),
        pytest.approx([0.02, 0.2]),
        pytest.approx([0.2]),
    ]
    assert gatekeeping([[], [0.03]]) == [[], [0.03]]


def test_gatekeeping_keeps_the_error_rate_of_all_families_together() -> None:
    """One real primary effect, one null primary, null secondaries; correlated z."""
    rng = np.random.default_rng(42)
    wrong = 0
    for _ in range(4_000):
        z = 0.5**0.5 * rng.standard_normal() + 0.5**0.5 * rng.standard_normal(5)
        z[0] += 5.0
        p = 2 * stats.norm.sf(np.abs(z))
        first, second = gatekeeping([[p[0], p[1]], p[2:].tolist()])
        wrong += min(first[1], *second) <= 0.05
    # Three standard errors of Binomial(4,000, .05) above.
    assert wrong / 4_000 <= 0.05 + 0.0104
    assert wrong > 0


@given(p_lists)
def test_graph_of_equals_is_holm(p: list[float]) -> None:
    m = len(p)
    graph = (np.ones((m, m)) - np.eye(m)) / max(m - 1, 1)
    assert graphical(p, [1 / m] * m, graph) == pytest.approx(holm(p), rel=1e-9)


@given(p_lists)
def test_graph_of_a_line_is_the_fixed_sequence(p: list[float]) -> None:
    m = len(p)
    expected = np.maximum.accumulate(p)
    adjusted = graphical(p, [1.0] + [0.0] * (m - 1), np.eye(m, k=1))
    assert adjusted == pytest.approx(expected, rel=1e-9)


def test_graph_is_closed_testing_with_weighted_bonferroni() -> None:
    """Two primaries pass half each to two secondaries: all 15 intersections by brute force."""
    weights = np.array([0.5, 0.5, 0.0, 0.0])
    graph = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=float)

    def intersection_weights(keep: tuple[int, ...]) -> np.ndarray:
        """Remove hypotheses one by one, by the update rule written out (Bretz et al. 2009)."""
        w, g = weights.copy(), graph.copy()
        for gone in set(range(4)) - set(keep):
            new_w, new_g = w.copy(), np.zeros((4, 4))
            for i in range(4):
                if i == gone:
                    continue
                new_w[i] = w[i] + w[gone] * g[gone, i]
                for j in range(4):
                    if j not in (i, gone) and g[i, gone] * g[gone, i] < 1:
                        new_g[i, j] = (g[i, j] + g[i, gone] * g[gone, j]) / (
                            1 - g[i, gone] * g[gone, i]
                        )
            new_w[gone] = 0.0
            w, g = new_w, new_g
        return w

    rng = np.random.default_rng(43)
    for _ in range(200):
        p = rng.uniform(0, 0.1, 4) ** rng.uniform(0.5, 2.0)
        local = {}
        for size in range(1, 5):
            for keep in combinations(range(4), size):
                w = intersection_weights(keep)
                local[keep] = min(1.0, min(p[i] / w[i] if w[i] > 0 else np.inf for i in keep))
        expected = [max(v for keep, v in local.items() if i in keep) for i in range(4)]
        assert graphical(p.tolist(), weights.tolist(), graph) == pytest.approx(expected, rel=1e-9)


def test_graphs_that_spend_too_much_are_refused() -> None:
    with pytest.raises(StatisticsError, match="does not share out"):
        graphical([0.1, 0.2], [0.9, 0.9], np.zeros((2, 2)))
    with pytest.raises(StatisticsError, match="does not share out"):
        graphical([0.1, 0.2], [0.5, 0.5], np.eye(2))


@pytest.mark.parametrize(("family", "level"), [(0, 0.9), (1, 0.9), (2, 0.95), (4, 0.975)])
def test_where_p_is_zero_the_interval_has_bonferronis_level(family: int, level: float) -> None:
    assert adjusted_confidence(0.0, 0.0, family, 0.9) == pytest.approx(level)
    # One metric alone keeps its level, whatever its p value.
    assert adjusted_confidence(0.2, 0.2, 1, 0.9) == pytest.approx(0.9)


def test_nothing_to_adjust() -> None:
    assert benjamini_hochberg([]) == []
    assert holm([]) == []


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg, benjamini_yekutieli])
@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.5])
def test_what_is_no_p_value_is_refused(
    adjust: Callable[[Sequence[float]], list[float]], bad: float
) -> None:
    with pytest.raises(StatisticsError, match="p value is none"):
        adjust([0.01, bad])


def test_shares_of_alpha_sum_to_one_at_most() -> None:
    nothing = [[0.0, 0.0], [0.0, 0.0]]
    assert graphical([0.01, 0.04], [0.5, 0.5], nothing) == pytest.approx([0.02, 0.08])
    for weights in ([0.5, 0.55], [-0.1, 0.5]):
        with pytest.raises(StatisticsError):
            graphical([0.01, 0.04], weights, nothing)
