"""Rebuild a user's history at the time of a held-out event: all that happened before the cut."""

from __future__ import annotations

import numpy as np

from policies.evaluation.comment_visits import visits_begun
from policies.evaluation.holdout import HeldOut, known_videos
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import Interactions, interactions
from simulator.logs.reads import has_seen_comments, put_reads, seen_comments
from simulator.requests import HISTORY_LENGTH, SIGNALS, HistoryState, Int64

# (user, time) packed into one sortable integer; Unix milliseconds need 41 bits.
_TIME_BITS = 42


def history_at(dataset: Dataset, test: HeldOut) -> HistoryState:
    """The histories of each case's person, of what happened strictly before the case's cut.

    A comment visit that goes on beyond the cut is known with its comments until then.

    Args:
        dataset: The whole log.
        test: Cases; row r of the result is case r.
    """
    state = HistoryState(len(test))
    for signal in SIGNALS:
        comment_ms: Int64 | None = None
        if signal == "discussed" and dataset.has("comment_events"):
            events, comment_ms = visits_begun(dataset)
        else:
            events = known_videos(interactions(dataset, signal))
        start, stop = span_before(events, test)
        longest = int((stop - start).max(initial=0))
        for age in range(min(longest, HISTORY_LENGTH) - 1, -1, -1):
            rows = np.flatnonzero(stop - start > age)
            at = stop[rows] - 1 - age
            comments = None if events.comments is None else events.comments[at]
            if comments is not None and comment_ms is not None:
                known = comment_ms[at] < test.cut_ms[rows][:, None]
                comments = np.where(known, comments, np.int32(-1))
            state.append(signal, rows, events.video[at], comments)
    if has_seen_comments(dataset):
        put_reads(state, seen_comments(dataset), test.user, test.cut_ms)
    return state


def span_before(events: Interactions, test: HeldOut) -> tuple[Int64, Int64]:
    """int64[n] twice: a case's person's events before its cut are ``start .. stop - 1``."""
    keys = (events.user.astype(np.int64) << _TIME_BITS) + events.time_ms
    wanted = (test.user.astype(np.int64) << _TIME_BITS) + test.cut_ms
    return np.searchsorted(events.user, test.user), np.searchsorted(keys, wanted)
