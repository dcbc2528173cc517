"""Build the histories that a platform has of people at the end of a log, or at any moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.logs.dataset import Dataset
from simulator.logs.interactions import Interactions, interactions, rank_in_run
from simulator.logs.reads import SeenComments, has_seen_comments, put_reads, seen_comments
from simulator.requests import HISTORY_LENGTH, SIGNALS, HistoryState, Int64

Int32 = NDArray[np.int32]
# (user, time) packed into one sortable integer; Unix milliseconds need 41 bits.
_TIME_BITS = 42


def initial_history(dataset: Dataset, users: Int32, before_ms: int | None = None) -> HistoryState:
    """The histories that the platform has of these users at the end of the log.

    Memory holds the latest events of these people, not the log's.

    Args:
        dataset: The log.
        users: int32[G], dense user indices; row r of the result is user ``users[r]``.
        before_ms: Only events strictly before this time.
    """
    state = HistoryState(len(users))
    row_of_user = np.full(len(dataset.user_ids()), -1, dtype=np.int64)
    row_of_user[users] = np.arange(len(users))
    for signal in SIGNALS:
        events = interactions(
            dataset, signal, before_ms=before_ms, users=users, latest=HISTORY_LENGTH
        )
        rows = row_of_user[events.user]
        known = (rows >= 0) & (events.video >= 0)
        rows, videos = rows[known], events.video[known]
        comments = None if events.comments is None else events.comments[known]
        if len(rows) == 0:
            continue
        lengths = np.bincount(events.user[known], minlength=len(row_of_user))
        from_end = (
            lengths[events.user[known]] - 1 - rank_in_run(events.user[known].astype(np.int64))
        )
        # Oldest of the last fifty first; each pass appends one event to every row that has it.
        for age in range(HISTORY_LENGTH - 1, -1, -1):
            pick = from_end == age
            if pick.any():
                state.append(
                    signal, rows[pick], videos[pick], None if comments is None else comments[pick]
                )
    if has_seen_comments(dataset):
        put_reads(state, seen_comments(dataset, before_ms=before_ms, users=users), users)
    return state


def histories_before(
    dataset: Dataset, seen: SeenComments | None, user: Int32, time_ms: Int64
) -> HistoryState:
    """What was known of people before some moments: row r of user[r] before time_ms[r].

    Args:
        dataset: The log.
        seen: All its seen comments; None leaves out what people read.
        user: int32[n], dense.
        time_ms: int64[n].
    """
    state = HistoryState(len(user))
    for signal in SIGNALS:
        events = interactions(dataset, signal, users=np.unique(user))
        start, stop = _span(events, user, time_ms)
        count = stop - start
        row = np.repeat(np.arange(len(user)), count)
        at = start[row] + rank_in_run(row)
        known = events.video[at] >= 0
        comments = None if events.comments is None else events.comments[at][known]
        state.extend(signal, row[known], events.video[at][known], comments)
    if seen is not None:
        put_reads(state, seen, user, time_ms)
    return state


def _span(events: Interactions, user: Int32, time_ms: Int64) -> tuple[Int64, Int64]:
    """int64[n] twice: the last events before each moment are ``start .. stop - 1``."""
    keys = (events.user.astype(np.int64) << _TIME_BITS) + events.time_ms
    stop = np.searchsorted(keys, (user.astype(np.int64) << _TIME_BITS) + time_ms)
    start = np.maximum(np.searchsorted(events.user, user), stop - HISTORY_LENGTH)
    return start.astype(np.int64), stop.astype(np.int64)
