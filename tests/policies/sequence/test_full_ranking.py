"""Ranking the whole catalogue agrees with a plain sort, ties and seen items included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.sequence.full_ranking import FullRanking


@given(
    people=st.integers(1, 7),
    n=st.integers(1, 400),
    size=st.integers(1, 30),
    levels=st.sampled_from([1, 2, 40, 10_000]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150, deadline=None)
def test_best_is_a_sort_by_score_then_index(
    people: int, n: int, size: int, levels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Whole numbers: inner products are exact, and few levels make many ties.
    table = rng.integers(0, levels, (n, 3)).astype(np.float32)
    users = rng.integers(0, 3, (people, 3)).astype(np.float32)
    seen = rng.random((people, n)) < rng.choice([0.0, 0.3, 0.99])
    row, item = np.nonzero(seen)
    found = FullRanking(table).best(users, size, row, item)
    for user in range(people):
        scores = table @ users[user]
        order = [i for i in sorted(range(n), key=lambda i: (-scores[i], i)) if not seen[user, i]]
        expected = (order + [-1] * size)[:size]
        assert found[user].tolist() == expected


@pytest.mark.parametrize("people", [1, 511, 513, 1_030])
def test_blocks_do_not_matter(people: int) -> None:
    rng = np.random.default_rng(1)
    table = rng.standard_normal((5_000, 8)).astype(np.float32)
    users = rng.standard_normal((people, 8)).astype(np.float32)
    row = np.sort(rng.integers(0, people, 3 * people))
    item = rng.integers(0, 5_000, 3 * people)
    found = FullRanking(table).best(users, 10, row, item)
    scores = users @ table.T
    scores[row, item] = -np.inf
    np.testing.assert_array_equal(found, np.argsort(-scores, axis=1)[:, :10])
