"""What the platform does with scores."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from policies.base import Policy
from policies.errors import PolicyContractError
from policies.ranking import rank, rank_videos
from policies.sequence.cache import RowCache
from policies.videos.random import RandomPolicy
from simulator.randomness import mix, purpose_key
from simulator.requests import VideoRequests

Make = Callable[..., VideoRequests]


@given(
    scores=hnp.arrays(np.float32, (4, 9), elements=st.integers(0, 3).map(float)),
    size=st.integers(1, 11),
    padded=st.integers(0, 8),
)
def test_rank_is_a_full_sort_with_ties_by_hash(scores: np.ndarray, size: int, padded: int) -> None:
    candidates = np.tile(np.arange(9, dtype=np.int32) * 3, (4, 1))
    candidates[:, 9 - padded :] = -1
    key = mix(purpose_key(0, "t"), np.arange(4))
    found = rank(scores, candidates, key, size)
    tie = mix(key[:, None], 501, candidates)
    for row in range(4):
        real = [c for c in range(9) if candidates[row, c] >= 0]
        order = sorted(real, key=lambda c: (-scores[row, c], int(tie[row, c])))
        expected = [int(candidates[row, c]) for c in order[:size]]
        expected += [-1] * (size - len(expected))
        assert found[row].tolist() == expected


@given(st.permutations(range(9)))
def test_rank_does_not_depend_on_candidate_order(order: list[int]) -> None:
    scores = np.array([[1, 1, 1, 2, 2, 0, 0, 0, 1]], dtype=np.float32)
    candidates = np.arange(9, dtype=np.int32)[None] + 100
    key = mix(purpose_key(0, "t"), np.arange(1))
    moved = rank(scores[:, order], candidates[:, order], key, 5)
    assert np.array_equal(moved, rank(scores, candidates, key, 5))


def test_exploration_frequencies_are_its_propensities(make_requests: Make) -> None:
    """4,000 requests with the same preference: how often each video takes each slot."""
    n, share = 4_000, 0.3

    class Fixed(Policy):
        def score_videos(self, requests: VideoRequests) -> np.ndarray:
            return -requests.candidates.astype(np.float32)

    candidates = np.tile(np.arange(8, dtype=np.int32), (n, 1))
    requests = make_requests([[]] * n, candidates)
    slates = rank_videos(Fixed(), requests, 3, share)
    assert slates.propensity is not None
    assert slates.is_rand is not None
    first = np.bincount(slates.videos[:, 0], minlength=8) / n
    expected = np.full(8, share / 8)
    expected[0] += 1.0 - share
    # Five standard deviations of a share of 4,000.
    assert np.abs(first - expected).max() < 5 * np.sqrt(0.25 / n)
    assert slates.propensity[slates.videos[:, 0] == 0, 0] == pytest.approx(1 - share + share / 8)
    assert slates.propensity[slates.videos[:, 0] != 0, 0] == pytest.approx(share / 8)
    assert (np.sort(slates.videos, axis=1)[:, 1:] > np.sort(slates.videos, axis=1)[:, :-1]).all()
    # Inverse propensities of a full-support slot average to the number of videos.
    assert (1.0 / slates.propensity[:, 0]).mean() == pytest.approx(8.0, rel=0.1)


def test_random_policy_shows_everything_equally_often(make_requests: Make) -> None:
    n = 6_000
    candidates = np.tile(np.arange(6, dtype=np.int32), (n, 1))
    slates = rank_videos(RandomPolicy(), make_requests([[]] * n, candidates), 1)
    counts = np.bincount(slates.videos[:, 0], minlength=6)
    # Chi-square with 5 degrees of freedom exceeds 25 once in 7,000.
    assert ((counts - n / 6) ** 2 / (n / 6)).sum() < 25


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (lambda c: np.zeros(len(c), np.float32), "shape"),
        (lambda c: np.full(c.shape, np.inf, np.float32), "non-finite"),
        (lambda c: np.zeros(c.shape, np.int64), "type int64"),
        (lambda c: [0.0], "type list"),
    ],
)
def test_broken_scores_name_the_policy(
    make_requests: Make, scores: Callable[[np.ndarray], object], expected: str
) -> None:
    class Mine(Policy):
        def score_videos(self, requests: VideoRequests) -> np.ndarray:
            return scores(requests.candidates)  # type: ignore[return-value]

    with pytest.raises(PolicyContractError, match=expected) as error:
        rank_videos(Mine(), make_requests([[1]]), 3)
    assert "Mine" in str(error.value)


def test_scores_of_padding_are_ignored(make_requests: Make) -> None:
    class Mine(Policy):
        def score_videos(self, requests: VideoRequests) -> np.ndarray:
            return np.where(requests.candidates < 0, np.nan, 1.0).astype(np.float32)

    slates = rank_videos(Mine(), make_requests([[]], np.array([[4, -1, 7]], np.int32)), 3)
    assert sorted(slates.videos[0].tolist()) == [-1, 4, 7]


def test_cache_asks_for_changed_rows_once() -> None:
    cache = RowCache(2)
    cache.reset(3)
    rows = np.array([0, 2, 2], dtype=np.int32)
    versions = np.array([5, 7, 7])
    assert cache.stale(rows, versions).tolist() == [0, 1]
    cache.put(rows[:2], versions[:2], np.array([[1, 2], [3, 4]], np.float32))
    assert len(cache.stale(rows, versions)) == 0
    assert cache.get(rows).tolist() == [[1, 2], [3, 4], [3, 4]]
    assert cache.stale(rows, np.array([5, 8, 8])).tolist() == [1]
    # A row beyond those announced is taken in, not an error.
    assert cache.stale(np.array([9], np.int32), np.array([0])).tolist() == [0]
