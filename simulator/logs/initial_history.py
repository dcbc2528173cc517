"""Build the histories that a platform has of people at the end of a log."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions, rank_in_run
from simulator.logs.reads import has_seen_comments, put_reads, seen_comments
from simulator.requests import HISTORY_LENGTH, SIGNALS, HistoryState

Int32 = NDArray[np.int32]


def initial_history(dataset: Dataset, users: Int32, before_ms: int | None = None) -> HistoryState:
    """The histories that the platform has of these users at the end of the log.

    Args:
        dataset: The log.
        users: int32[G], dense user indices; row r of the result is user ``users[r]``.
        before_ms: Only events strictly before this time.
    """
    state = HistoryState(len(users))
    row_of_user = np.full(len(dataset.user_ids()), -1, dtype=np.int64)
    row_of_user[users] = np.arange(len(users))
    for signal in SIGNALS:
        events = interactions(dataset, signal, before_ms=before_ms)
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
        put_reads(state, seen_comments(dataset, before_ms=before_ms), users)
    return state
