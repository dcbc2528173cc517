"""From actions to pages, against plain loops."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis.extra import numpy as hnp

from simulator.gym.slates import AgentPage, comment_order, repair
from simulator.requests import CommentRequests, HistoryState

SLOTS, WIDTH, SCORED = 4, 9, 3


@given(
    picks=hnp.arrays(np.int64, (5, SLOTS), elements=st.integers(0, WIDTH - 1)),
    real=st.lists(st.integers(0, WIDTH), min_size=5, max_size=5),
)
def test_pages_hold_the_picks_in_order_and_are_filled_from_the_top(
    picks: np.ndarray, real: list[int]
) -> None:
    candidates = np.full((5, WIDTH), -1, dtype=np.int32)
    for row, count in enumerate(real):
        candidates[row, :count] = 100 * row + np.arange(count)
    scores = np.arange(5 * SLOTS * SCORED, dtype=np.float32).reshape(5, SLOTS, SCORED)
    page = repair(candidates, picks, scores)
    assert page.scores is not None
    assert (repair(candidates, picks, None).videos == page.videos).all()
    for row, count in enumerate(real):
        chosen = list(dict.fromkeys(p for p in picks[row].tolist() if p < count))
        others = [p for p in range(count) if p not in chosen]
        filled = [*chosen, *others][:SLOTS]
        expected = [100 * row + p for p in filled] + [-1] * (SLOTS - len(filled))
        assert page.videos[row].tolist() == expected
        for slot in range(SLOTS):
            if slot < len(chosen):
                source = picks[row].tolist().index(chosen[slot])
                assert (page.scores[row, slot] == scores[row, source]).all()
            else:
                assert np.isnan(page.scores[row, slot]).all()


@given(
    scores=hnp.arrays(
        np.float32, (2, SLOTS, SCORED), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])
    ),
    slots=st.lists(st.integers(0, SLOTS - 1), min_size=2, max_size=2),
    absent=hnp.arrays(np.bool_, (2, 6)),
)
def test_scored_comments_come_first_and_ties_keep_the_platforms_order(
    scores: np.ndarray, slots: list[int], absent: np.ndarray
) -> None:
    videos = np.array([[1, 2, 3, 4], [11, 12, 13, 14]], dtype=np.int32)
    scores[:, 3] = np.nan  # a video that was filled in
    listed = np.where(absent, -1, [[50, 51, 52, 53, 54, 55], [60, 61, 62, 63, 64, 65]])
    rows = np.array([4, 7], dtype=np.int32)
    sections = CommentRequests(
        row=rows,
        user=rows,
        time_ms=np.zeros(2, dtype=np.int64),
        key=np.zeros(2, dtype=np.uint64),
        video=videos[[0, 1], slots],
        candidates=listed.astype(np.int32),
        history=HistoryState(8).view(rows),
    )
    order = comment_order(sections, rows, AgentPage(videos, scores))
    for at, slot in enumerate(slots):
        given_scores = scores[at, slot]
        real = [c for c in listed[at].tolist() if c >= 0]
        scored = [
            (float(given_scores[k]), listed[at, k])
            for k in range(SCORED)
            if listed[at, k] >= 0 and not np.isnan(given_scores[k])
        ]
        best = [c for _, c in sorted(scored, key=lambda pair: -pair[0])]
        expected = [*best, *(c for c in real if c not in best)]
        assert order[at][order[at] >= 0].tolist() == expected
        assert len(order[at]) == 6
