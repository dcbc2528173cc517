"""Samples of candidates hold the positives, the asked number of others, and their order."""

from __future__ import annotations

import numpy as np
import pytest

from policies.evaluation.candidates import CandidateBlock, _sampled
from simulator.randomness import mix, purpose_key

CASES, WIDTH = 200, 12


def block(positives: tuple[int, ...]) -> CandidateBlock:
    """Cases of which some candidates do not compete; positives do, and differ by case.

    Args:
        positives: Numbers of them, by turns.
    """
    random = np.random.default_rng(positives)
    candidates = np.tile(np.arange(100, 100 + WIDTH, dtype=np.int32), (CASES, 1))
    positive = np.zeros((CASES, WIDTH), dtype=bool)
    for number, case in enumerate(positive):
        case[random.choice(WIDTH, positives[number % len(positives)], replace=False)] = True
    competes = positive | (random.random((CASES, WIDTH)) < 0.7)
    return CandidateBlock(np.arange(CASES), candidates, competes, positive)


@pytest.mark.parametrize("size", [1, 2, 5, WIDTH, 3 * WIDTH])
@pytest.mark.parametrize("positives", [(1,), (3,), (1, 4, 2)])
def test_a_sample_is_the_positives_and_others_up_to_its_size(
    size: int, positives: tuple[int, ...]
) -> None:
    whole = block(positives)
    keys = mix(purpose_key(1, "samples"), np.arange(CASES))
    found = _sampled(whole, keys, size)
    for case in range(CASES):
        kept = found.candidates[case][found.competes[case]]
        free = whole.candidates[case][whole.competes[case]]
        wanted = whole.candidates[case][whole.positive[case]]
        assert (np.diff(kept) > 0).all() and set(wanted) <= set(kept) <= set(free)
        # Positives are never dropped; where they leave no room, there is nothing else.
        assert len(kept) == min(max(size, len(wanted)), len(free))
        assert set(found.candidates[case][found.positive[case]]) == set(wanted)
    assert (found.candidates[~found.competes] == -1).all()
    assert not (found.positive & ~found.competes).any()
    if size == 5:
        others = (found.candidates >= 0) & ~found.positive
        share = np.bincount(found.candidates[others] - 100, minlength=WIDTH) / others.sum()
        # Every place is as likely: five standard errors of a share of one in twelve.
        assert np.abs(share - 1 / WIDTH).max() < 5.0 * np.sqrt(1 / WIDTH / others.sum())
