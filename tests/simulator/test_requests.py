"""Histories against plain lists."""

from __future__ import annotations

from collections import deque

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from simulator.requests import (
    COMMENTS_PER_EVENT,
    HISTORY_LENGTH,
    SIGNALS,
    HistoryState,
    Signal,
)

USERS = 4
PADDING = [-1] * COMMENTS_PER_EVENT
comment_lists = st.lists(st.integers(0, 99), max_size=COMMENTS_PER_EVENT).map(
    lambda c: c + [-1] * (COMMENTS_PER_EVENT - len(c))
)
# One call: a signal, and per row that takes part a video and comments.
calls = st.tuples(
    st.sampled_from(SIGNALS),
    st.dictionaries(st.integers(0, USERS - 1), st.tuples(st.integers(0, 99), comment_lists)),
)


class Lists:
    """The last fifty events per signal and user, and how many there ever were."""

    def __init__(self) -> None:
        self.kept = {s: [deque(maxlen=HISTORY_LENGTH) for _ in range(USERS)] for s in SIGNALS}
        self.count = {s: [0] * USERS for s in SIGNALS}

    def append(self, signal: Signal, row: int, video: int, comments: list[int]) -> None:
        self.kept[signal][row].append((video, comments))
        self.count[signal][row] += 1

    def check(self, state: HistoryState) -> None:
        rows = np.arange(USERS)
        view = state.view(rows)
        for signal in SIGNALS:
            kept = self.kept[signal]
            assert view.version(signal).tolist() == self.count[signal]
            assert view.lengths(signal).tolist() == [len(k) for k in kept]
            expected = [[v for v, _ in k] + [-1] * (HISTORY_LENGTH - len(k)) for k in kept]
            assert view.videos(signal).tolist() == expected
            for count in (1, 3, HISTORY_LENGTH):
                newest = [[v for v, _ in reversed(k)] + [-1] * HISTORY_LENGTH for k in kept]
                assert view.latest(signal, count).tolist() == [row[:count] for row in newest]
        kept = self.kept["discussed"]
        assert view.comments().tolist() == [
            [c for _, c in k] + [PADDING] * (HISTORY_LENGTH - len(k)) for k in kept
        ]


def play(state: HistoryState, lists: Lists, signal: Signal, events: dict) -> None:
    rows = np.array(list(events), dtype=np.int64)
    videos = np.array([v for v, _ in events.values()], dtype=np.int32)
    comments = np.array([c for _, c in events.values()], dtype=np.int32).reshape(-1, 3)
    state.append(signal, rows, videos, comments if signal == "discussed" else None)
    for row, (video, said) in events.items():
        lists.append(signal, row, video, said)


@settings(max_examples=60, deadline=None)
@given(st.lists(calls, max_size=25), st.integers(0, 130))
def test_histories_are_the_last_fifty_events_oldest_first(script: list, burst: int) -> None:
    state, lists = HistoryState(USERS), Lists()
    for number in range(burst):
        comments = [number, -1, -1]
        play(state, lists, "discussed", {1: (number, comments), 3: (number + 500, comments)})
    for signal, events in script:
        play(state, lists, signal, events)
    lists.check(state)


@settings(max_examples=30, deadline=None)
@given(st.lists(calls, max_size=10), st.lists(calls, min_size=1, max_size=10))
def test_a_copy_and_its_original_go_their_own_ways(before: list, after: list) -> None:
    state, lists = HistoryState(USERS), Lists()
    for signal, events in before:
        play(state, lists, signal, events)
    copy = state.copy()
    for signal, events in after:
        play(copy, Lists(), signal, events)
    lists.check(state)
    once_more = state.copy()
    for signal, events in after:
        play(state, Lists(), signal, events)
    lists.check(once_more)


@pytest.mark.parametrize("length", [0, 1, 49, 50, 51, 99, 100, 101])
def test_ring_turns_over_at_its_length(length: int) -> None:
    state = HistoryState(1)
    for video in range(length):
        state.append("clicked", np.array([0]), np.array([video], dtype=np.int32))
    view = state.view(np.array([0]))
    expected = list(range(length))[-HISTORY_LENGTH:]
    assert view.videos("clicked")[0, : len(expected)].tolist() == expected
    assert view.version("clicked").tolist() == [length]


def test_signals_do_not_mix() -> None:
    state = HistoryState(2)
    state.append("liked", np.array([1]), np.array([7], dtype=np.int32))
    view = state.view(np.arange(2))
    assert view.lengths("liked").tolist() == [0, 1]
    for other in ("clicked", "discussed"):
        assert view.lengths(other).tolist() == [0, 0]


def test_a_discussion_without_known_comments_forgets_those_of_the_slot_before() -> None:
    state, row = HistoryState(1), np.array([0])
    for video in range(HISTORY_LENGTH):
        comments = np.array([[1, 2, 3]], dtype=np.int32)
        state.append("discussed", row, np.array([video], dtype=np.int32), comments)
    state.append("discussed", row, np.array([99], dtype=np.int32))
    view = state.view(row)
    assert view.videos("discussed")[0, -1] == 99
    assert view.comments()[0, -1].tolist() == PADDING


def test_a_view_shows_the_present_in_the_order_asked_for() -> None:
    state = HistoryState(5)
    view = state.view(np.array([4, 0, 2], dtype=np.int32))
    state.append("clicked", np.array([0, 4]), np.array([10, 14], dtype=np.int32))
    assert len(view) == 3
    assert view.lengths("clicked").tolist() == [1, 1, 0]
    assert view.videos("clicked")[:, 0].tolist() == [14, 10, -1]
    by_mask = view.select(np.array([False, True, True]))
    by_index = view.select(np.array([1, 2]))
    for part in (by_mask, by_index):
        assert len(part) == 2
        assert np.array_equal(part.videos("clicked"), view.videos("clicked")[1:])


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 120), picks=st.lists(st.floats(0, 1, exclude_max=True), min_size=1))
def test_gather_draws_every_kept_event_and_nothing_else(length: int, picks: list[float]) -> None:
    state = HistoryState(3)
    for video in range(length):
        state.append("liked", np.array([2]), np.array([video], dtype=np.int32))
    view = state.view(np.array([2]))
    kept = int(view.lengths("liked")[0])
    everything = view.gather("liked", np.arange(kept)[None])
    assert sorted(everything[0].tolist()) == sorted(view.videos("liked")[0, :kept].tolist())
    some = view.gather("liked", (np.array([picks]) * kept).astype(np.int64))
    assert set(some[0].tolist()) <= set(range(length)[-HISTORY_LENGTH:])
