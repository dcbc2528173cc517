"""Metrics against their definitions, one list at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.evaluation.metrics import NAMES, case_metrics, coverage, per_person, positive_ranks


def by_hand(scores: list[float], chosen: list[bool], competes: list[bool]) -> dict[str, float]:
    """Sort one list, other candidates before positives where scores are equal; read it."""
    listed = [i for i in range(len(scores)) if competes[i]]
    listed.sort(key=lambda i: (-scores[i], chosen[i]))
    ranks = [place for place, i in enumerate(listed) if chosen[i]]
    found = {"MRR": 1.0 / (ranks[0] + 1)}
    for k in (1, 5, 10):
        found[f"Recall@{k}"] = sum(r < k for r in ranks) / len(ranks)
    for k in (5, 10):
        ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(ranks))))
        found[f"NDCG@{k}"] = sum(1 / math.log2(r + 2) for r in ranks if r < k) / ideal
    return found


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10**6), st.integers(1, 25), st.integers(1, 6))
def test_metrics_equal_a_sorted_list(seed: int, width: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different scores: ties are the rule.
    scores = rng.integers(-3, 3, (rows, width)).astype(np.float32)
    competes = rng.random((rows, width)) < 0.8
    positive = competes & (rng.random((rows, width)) < 0.3)
    at = rng.integers(width, size=rows)
    competes[np.arange(rows), at] = positive[np.arange(rows), at] = True
    found = case_metrics(positive_ranks(scores, positive, competes))
    assert set(found) == set(NAMES)
    for row in range(rows):
        expected = by_hand(scores[row].tolist(), positive[row].tolist(), competes[row].tolist())
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value), name


def test_a_constant_score_earns_nothing() -> None:
    everybody = np.ones((1, 30), dtype=bool)
    positive = np.zeros((1, 30), dtype=bool)
    positive[0, 0] = True
    ranks = positive_ranks(np.zeros((1, 30), dtype=np.float32), positive, everybody)
    assert ranks.tolist() == [[29]]


def test_people_count_the_same_however_often_they_are_asked() -> None:
    user = np.array([2, 2, 2, 5, 9, 9], dtype=np.int32)
    values = np.array([1.0, 0.0, 0.5, 1.0, 0.0, 1.0])
    assert per_person(values, user).tolist() == [0.5, 1.0, 0.5]


def test_coverage_counts_different_items() -> None:
    top = np.array([[3, 4, -1], [4, 3, 8]], dtype=np.int32)
    assert coverage(top, 12) == pytest.approx(3 / 12)
