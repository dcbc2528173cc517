"""Compute ranking metrics from the ranks of what a user chose.

With P positives at ranks r (from 0) of one list:

    Recall@k = (positives with r < k) / P
    NDCG@k   = sum over r < k of 1 / log2(r + 2), over the same sum for ranks 0 .. min(P, k) - 1
    MRR      = 1 / (smallest r + 1)

(Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20, 2002, with
gains 0 and 1; Voorhees, TREC-8, 1999). With one positive, Recall@k is what others call hit rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int32, Int64

Float64 = NDArray[np.float64]

RECALL_CUTOFFS = (1, 5, 10)
NDCG_CUTOFFS = (5, 10)
COVERAGE_CUTOFF = 10
NAMES = (*(f"Recall@{k}" for k in RECALL_CUTOFFS), *(f"NDCG@{k}" for k in NDCG_CUTOFFS), "MRR")


def positive_ranks(
    scores: NDArray[np.float32],
    positive: NDArray[np.bool_],
    competes: NDArray[np.bool_],
) -> Int64:
    """Ranks of all positives of each list, from 0, ties against the policy.

    A candidate that scores the same as a positive counts as better; equal positives follow each
    other.

    Args:
        scores: float32[B, C].
        positive: bool[B, C].
        competes: bool[B, C]; positives do.

    Returns:
        int64[B, P], ascending, -1 padded at the end.
    """
    width = int(positive.sum(axis=1).max(initial=0))
    own = np.where(positive, scores, -np.inf)
    # Best first; the padding is whatever comes after the positives.
    best = -np.sort(-own, axis=1)[:, :width] if width > 1 else own.max(axis=1, keepdims=True)
    others = np.where(competes & ~positive, scores, -np.inf)
    ranks = np.full((len(scores), width), -1, dtype=np.int64)
    count = positive.sum(axis=1)
    for number in range(width):
        real = count > number
        above = (others >= best[:, number, None]).sum(axis=1)
        ranks[real, number] = above[real] + number
    return ranks


def case_metrics(ranks: Int64) -> dict[str, Float64]:
    """Every metric of each list.

    Args:
        ranks: int64[n, P] from `positive_ranks`; at least one positive each.

    Returns:
        Metric (`NAMES`) to float64[n].
    """
    real = ranks >= 0
    count = real.sum(axis=1)
    values: dict[str, Float64] = {}
    for k in RECALL_CUTOFFS:
        values[f"Recall@{k}"] = (real & (ranks < k)).sum(axis=1) / count
    for k in NDCG_CUTOFFS:
        gain = np.where(real & (ranks < k), 1.0 / np.log2(np.maximum(ranks, 0) + 2.0), 0.0)
        ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))[np.minimum(count, k) - 1]
        values[f"NDCG@{k}"] = gain.sum(axis=1) / ideal
    first = np.where(real, ranks, np.iinfo(np.int64).max - 1).min(axis=1)
    values["MRR"] = 1.0 / (first + 1.0)
    return values


def per_person(values: Float64, user: Int32) -> Float64:
    """float64[U]: the mean over each person's lists; ``user`` int32[n] is ascending."""
    starts = np.flatnonzero(np.append(True, user[1:] != user[:-1]))
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(user)))


def coverage(top: Int32, offered: int) -> float:
    """Share of all items offered to anybody that stand in somebody's list.

    Args:
        top: int32[n, k], the lists' heads, -1 padded.
        offered: Distinct items that competed in any list.
    """
    return len(np.unique(top[top >= 0])) / max(offered, 1)
