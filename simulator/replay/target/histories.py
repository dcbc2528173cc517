"""Rebuild each user's history before each logged impression, forward in time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import HISTORY_LENGTH, SIGNALS, HistoryState, Int32, Int64, Signal


class _Events:
    """The events of one signal, with a cursor per person that only moves forward."""

    def __init__(self, dataset: Dataset, signal: Signal, users: Int32) -> None:
        found = interactions(dataset, signal, users=users)
        self.signal: Signal = signal
        known = found.video >= 0
        self.video, self.time_ms = found.video[known], found.time_ms[known]
        self.comments = None if found.comments is None else found.comments[known]
        owner = found.user[known]
        self.cursor = np.searchsorted(owner, users, side="left").astype(np.int64)
        self.stop = np.searchsorted(owner, users, side="right").astype(np.int64)

    def advance(self, state: HistoryState, rows: Int64, before_ms: Int64) -> None:
        """Append the events of these people that happened strictly before the given times."""
        end = self._first_not_before(rows, before_ms)
        # A ring of 50 forgets older events anyway.
        at = np.maximum(self.cursor[rows], end - HISTORY_LENGTH)
        self.cursor[rows] = end
        active = at < end
        while active.any():
            rows, at, end = rows[active], at[active], end[active]
            comments = None if self.comments is None else self.comments[at]
            state.append(self.signal, rows, self.video[at], comments)
            at = at + 1
            active = at < end

    def _first_not_before(self, rows: Int64, before_ms: Int64) -> Int64:
        """Binary search of all people at once, between their cursor and their last event."""
        low, high = self.cursor[rows].copy(), self.stop[rows].copy()
        while (low < high).any():
            middle = (low + high) // 2
            searching = low < high
            earlier = np.zeros(len(rows), dtype=bool)
            earlier[searching] = self.time_ms[middle[searching]] < before_ms[searching]
            low = np.where(searching & earlier, middle + 1, low)
            high = np.where(searching & ~earlier, middle, high)
        return low


class Waves:
    """Iterate over logged rows in waves: the k-th row of every person together.

    Inside a wave people are distinct, so one history state serves the whole wave; between waves it
    moves forward in time only, so nothing later than a row's own time is ever visible to it.

    Args:
        dataset: The log.
        user: int32[N], dense users, non-decreasing.
        time_ms: int64[N], non-decreasing inside a user.
    """

    def __init__(self, dataset: Dataset, user: Int32, time_ms: Int64) -> None:
        self._people, self._first, self._count = np.unique(
            user, return_index=True, return_counts=True
        )
        self._time_ms = time_ms
        self.state = HistoryState(len(self._people))
        self._events = [_Events(dataset, signal, self._people) for signal in SIGNALS]

    def __iter__(self) -> Iterator[tuple[Int64, Int64]]:
        """Yield (row numbers of the wave, their rows in ``state``)."""
        for step in range(int(self._count.max(initial=0))):
            people = np.flatnonzero(self._count > step)
            rows = self._first[people] + step
            for events in self._events:
                events.advance(self.state, people, self._time_ms[rows])
            yield rows, people
