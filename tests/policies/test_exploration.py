"""Exploration against a plain loop, and its probabilities against frequencies."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from policies.exploration import explore
from simulator.randomness import mix
from simulator.requests import Int32

SHARE = 0.3


def ragged(pages: int, width: int, slots: int, seed: int) -> tuple[Int32, Int32]:
    """Candidates with padding, and a ranker's best of them in random order."""
    random = np.random.default_rng(seed)
    candidates = np.full((pages, width), -1, dtype=np.int32)
    best = np.full((pages, slots), -1, dtype=np.int32)
    for row in range(pages):
        real = random.permutation(90)[: random.integers(0, width + 1)]
        candidates[row, : len(real)] = real
        order = random.permutation(real)[:slots]
        best[row, : len(order)] = order
    return best, candidates


def test_probabilities_are_those_of_the_rule() -> None:
    best, candidates = ragged(200, 9, 5, seed=1)
    found = explore(best, candidates, mix(3, np.arange(200)), SHARE, keep_probabilities=True)
    assert found.probabilities is not None and found.is_rand is not None
    for row in range(200):
        left = [c for c in candidates[row].tolist() if c >= 0]
        order = [c for c in best[row].tolist() if c >= 0]
        for slot, shown in enumerate(found.shown[row].tolist()):
            if not left:
                assert shown == -1 and found.propensity[row, slot] == 0.0
                assert not found.probabilities[row, slot].any()
                continue
            greedy = next(c for c in order if c in left)
            expected = {c: SHARE / len(left) + (1.0 - SHARE if c == greedy else 0.0) for c in left}
            given = dict(zip(candidates[row].tolist(), found.probabilities[row, slot], strict=True))
            given.pop(-1, None)
            assert given == pytest.approx({c: expected.get(c, 0.0) for c in given}, abs=1e-6)
            assert found.propensity[row, slot] == pytest.approx(expected[shown], abs=1e-6)
            if not found.is_rand[row, slot]:
                assert shown == greedy
            left.remove(shown)


def test_pages_come_as_often_as_their_propensities_say() -> None:
    # Three candidates, two places: six pages, each with a known probability.
    pages = 40_000
    best = np.tile(np.array([[7, 4]], np.int32), (pages, 1))
    candidates = np.tile(np.array([[4, 5, 7]], np.int32), (pages, 1))
    found = explore(best, candidates, mix(9, np.arange(pages)), SHARE)
    likely = {
        tuple(page): float(p)
        for page, p in zip(found.shown.tolist(), found.propensity.prod(axis=1), strict=True)
    }
    assert len(likely) == 6 and sum(likely.values()) == pytest.approx(1.0, abs=1e-5)
    seen = Counter(map(tuple, found.shown.tolist()))
    for page, p in likely.items():
        # Five standard deviations of a binomial.
        assert abs(seen[page] - pages * p) < 5.0 * np.sqrt(pages * p * (1.0 - p)), page


def test_without_exploration_the_best_is_certain() -> None:
    best, candidates = ragged(50, 6, 4, seed=2)
    found = explore(best, candidates, mix(1, np.arange(50)), 0.0, keep_probabilities=True)
    assert found.is_rand is None and np.array_equal(found.shown, best)
    assert found.probabilities is not None
    assert np.array_equal(found.propensity, (best >= 0).astype(np.float32))
    chosen = np.where(best[:, :, None] == candidates[:, None, :], 1.0, 0.0)
    chosen[best < 0] = 0.0
    assert np.array_equal(found.probabilities, chosen)
