"""Correct several comparisons: adjusted p values and matching intervals.

Which error is controlled: the chance of any false rejection (Holm, the gatekeepers) or the
expected share of false ones among the rejections (Benjamini-Hochberg, -Yekutieli). All but
Benjamini-Hochberg hold under any dependence of the p values; that one under independence or
positive dependence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm, Scandinavian Journal of Statistics 6, 1979).

    Raises:
        StatisticsError: a p value that is none.
    """
    _check_p_values(p_values)
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(m)
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, (m - position) * p_values[index])
        adjusted[index] = min(running, 1.0)
    return adjusted.tolist()


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Step-up adjusted p values ``min_(j >= i) p_(j) m / j``.

    Controls the false discovery rate (Benjamini & Hochberg, JRSS B 57, 1995).
    """
    return _step_up(p_values, 1.0)


def benjamini_yekutieli(p_values: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg's, times ``1 + 1/2 + ... + 1/m``, for any dependence.

    Benjamini & Yekutieli, Annals of Statistics 29, 2001.
    """
    return _step_up(p_values, _harmonic(len(p_values)))


def gatekeeping(families: Sequence[Sequence[float]]) -> list[list[float]]:
    """Adjusted p values of ordered families: each is tested only if all before are rejected.

    Holm inside a family; a p value is never below those of the families that gate it. The chance
    of any false rejection in any family stays below alpha without paying for more than one family
    (serial gatekeeping: Westfall & Krishen, Journal of Statistical Planning and Inference 99,
    2001).

    Args:
        families: P values per family, the primary metrics first.
    """
    gate = 0.0
    result = []
    for p_values in families:
        adjusted = [max(p, gate) for p in holm(p_values)]
        gate = max(adjusted, default=gate)
        result.append(adjusted)
    return result


def graphical(
    p_values: Sequence[float], weights: Sequence[float], transitions: ArrayLike
) -> list[float]:
    """Adjusted p values of a graph that hands the error rate of rejected hypotheses on.

    Holm, fixed sequences, fallback and gatekeeping by any primary metric are special cases
    (Bretz, Maurer, Brannath & Posch, Statistics in Medicine 28, 2009, algorithm 2). The chance of
    any false rejection stays below alpha.

    Args:
        p_values: Of m hypotheses.
        weights: Shares of alpha at the start, summing to at most one.
        transitions: float[m, m], the share of hypothesis i's weight that goes to j when i is
            rejected; rows sum to at most one, the diagonal is zero.

    Raises:
        StatisticsError: weights or transitions that are no shares.
    """
    _check_p_values(p_values)
    p = np.asarray(p_values, dtype=np.float64)
    weight = np.array(weights, dtype=np.float64)
    graph = np.array(transitions, dtype=np.float64)
    _check_graph(len(p), weight, graph)
    adjusted = np.ones(len(p))
    open_ = np.ones(len(p), dtype=bool)
    running = 0.0
    for _ in range(len(p)):
        ratio = np.divide(p, weight, out=np.full(len(p), np.inf), where=open_ & (weight > 0.0))
        best = int(np.argmin(ratio))
        if not np.isfinite(ratio[best]):
            break  # Nothing that is left has any weight.
        running = max(running, float(ratio[best]))
        adjusted[best] = min(running, 1.0)
        open_[best] = False
        weight += weight[best] * graph[best]
        weight[best] = 0.0
        graph = _without(graph, best)
    return adjusted.tolist()


def adjusted_confidence(
    p_value: float, p_adjusted: float, family: int, confidence: float = 0.95
) -> float:
    """The level at which an unadjusted interval agrees with the adjusted p value.

    At ``1 - alpha * p / p_adjusted`` the interval excludes zero exactly if p_adjusted < alpha.
    It is about zero only: that all intervals cover their effects at once would need the level
    ``1 - alpha / family`` for each of them.
    """
    if family <= 1 or p_adjusted <= 0.0:
        return 1.0 - (1.0 - confidence) / max(family, 1)
    return 1.0 - (1.0 - confidence) * p_value / p_adjusted


def selected_confidence(
    p_values: Sequence[float], *, confidence: float = 0.95, any_dependence: bool = False
) -> float:
    """The level of all intervals of a family after Benjamini-Hochberg or -Yekutieli.

    With R of m rejected at false discovery rate q it is ``1 - R q / m`` (for any dependence q over
    1 + 1/2 + ... + 1/m): the expected share of intervals of the rejected ones that miss their
    effect is at most q, and an interval excludes zero exactly if its own hypothesis is rejected
    (Benjamini & Yekutieli, JASA 100, 2005). Without any rejection R = 1 is used, which still
    leaves zero in all of them.
    """
    m = len(p_values)
    q = 1.0 - confidence
    adjusted = (benjamini_yekutieli if any_dependence else benjamini_hochberg)(p_values)
    rejected = sum(p <= q for p in adjusted)
    factor = _harmonic(m) if any_dependence else 1.0
    return 1.0 - max(rejected, 1) * q / (max(m, 1) * factor)


def _check_p_values(p_values: Sequence[float]) -> None:
    bad = [p for p in p_values if not 0.0 <= p <= 1.0]
    if bad:
        raise StatisticsError(
            "a p value is none.",
            f"It is {bad[0]}, not in [0, 1].",
            "Leave out comparisons that could not be made.",
        )


def _step_up(p_values: Sequence[float], factor: float) -> list[float]:
    _check_p_values(p_values)
    m = len(p_values)
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")[::-1]
    scaled = p[order] * (m * factor / np.arange(m, 0, -1))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def _harmonic(m: int) -> float:
    return float((1.0 / np.arange(1, max(m, 1) + 1)).sum())


def _without(graph: Float, gone: int) -> Float:
    """The graph after hypothesis ``gone`` is rejected: its edges are passed through."""
    through = np.outer(graph[:, gone], graph[gone])
    loop = graph[:, gone] * graph[gone]
    result: Float = np.divide(
        graph + through, (1.0 - loop)[:, None], out=np.zeros_like(graph), where=loop[:, None] < 1.0
    )
    np.fill_diagonal(result, 0.0)
    result[gone] = 0.0
    result[:, gone] = 0.0
    return result


def _check_graph(m: int, weight: Float, graph: Float) -> None:
    tolerance = 1e-9
    fits = (
        weight.shape == (m,)
        and graph.shape == (m, m)
        and bool((weight >= 0.0).all() and weight.sum() <= 1.0 + tolerance)
        and bool((graph >= 0.0).all() and (graph.sum(axis=1) <= 1.0 + tolerance).all())
        and not np.diag(graph).any()
    )
    if not fits:
        raise StatisticsError(
            "the graph does not share out the error rate.",
            f"{m} hypotheses, weights {weight.tolist()}.",
            "Weights and each row of transitions must sum to at most 1, the diagonal be 0.",
        )
