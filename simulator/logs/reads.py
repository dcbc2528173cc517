"""Read from a log which comments people saw, and how long they looked at each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.logs.catalogue import lookup
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import (
    ENGAGED,
    NEW_VISIT,
    of_people,
    rank_in_run,
    require_room_for,
)
from simulator.requests import READS_KEPT, HistoryState

_BYTES_PER_COMMENT = 170
"""What a comment that was seen takes while all of them are sorted, as measured."""
# (user, time) packed into one sortable integer; Unix milliseconds need 41 bits.
_TIME_BITS = 42

Bool = NDArray[np.bool_]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class SeenComments:
    """Comments that were seen, sorted by person, time and rank.

    Attributes:
        user: int32[n], dense, ascending.
        video: int32[n].
        comment: int32[n].
        time_ms: int64[n], when the visit began.
        visit: int64[n], number of the visit, ascending from 0.
        rank: int64[n], place within the visit, from 0.
        dwell_ms: int64[n].
        touched: bool[n], liked or replied to.
        last: bool[n], whether the visit ended with it.
    """

    user: Int32
    video: Int32
    comment: Int32
    time_ms: Int64
    visit: Int64
    rank: Int64
    dwell_ms: Int64
    touched: Bool
    last: Bool

    def __len__(self) -> int:
        return len(self.user)

    def pick(self, index: NDArray[np.generic]) -> SeenComments:
        """Some of them."""
        return SeenComments(**{name: value[index] for name, value in vars(self).items()})


def has_seen_comments(dataset: Dataset) -> bool:
    """Whether the log says which comments were seen and for how long."""
    return dataset.has("comment_events") and all(
        dataset.has_column("comment_events", name) for name in ("is_shown", "dwell_ms")
    )


def seen_comments(
    dataset: Dataset, *, before_ms: int | None = None, users: Int32 | None = None
) -> SeenComments:
    """All comments of the log that were seen, of people and comments that it knows.

    Args:
        dataset: A log of which `has_seen_comments` is true.
        before_ms: Only what happened before this time.
        users: int32[G], dense: only what these people saw; None for everyone.

    Raises:
        TooLarge: what everybody saw takes more memory than there is.
    """
    wanted = None
    if users is not None:
        wanted = np.zeros(len(dataset.user_ids()), dtype=np.bool_)
        wanted[users] = True
    label = (pl.col("is_shown") == 1) & pl.col("dwell_ms").is_not_null()
    if before_ms is not None:
        label &= pl.col("time_ms") < before_ms
    if wanted is None:
        require_room_for(dataset, "comment_events", label, _BYTES_PER_COMMENT, "comments seen")
    rows = of_people(dataset, "comment_events", wanted).filter(label)
    frame = (
        rows.select(
            "_row",
            "user_id",
            "video_id",
            "comment_id",
            "time_ms",
            "dwell_ms",
            ENGAGED.fill_null(False).alias("touched"),
        )
        .collect(engine="streaming")
        .sort("user_id", "time_ms", "_row")
        .with_columns(NEW_VISIT.cum_sum().alias("_visit"))
        .with_columns(pl.col("time_ms").first().over("_visit"))
    )
    catalogue = dataset.catalogue()
    user = lookup(dataset.user_ids(), frame["user_id"].to_numpy())
    video = catalogue.video_index(frame["video_id"].to_numpy())
    comment = catalogue.comment_index(frame["comment_id"].to_numpy())
    known = (user >= 0) & (video >= 0) & (comment >= 0)
    visit = frame["_visit"].to_numpy().astype(np.int64)[known]
    number = np.unique(visit, return_inverse=True)[1].astype(np.int64)
    return SeenComments(
        user[known],
        video[known],
        comment[known],
        frame["time_ms"].to_numpy().astype(np.int64)[known],
        number,
        rank_in_run(number),
        np.maximum(frame["dwell_ms"].to_numpy().astype(np.int64)[known], 0),
        frame["touched"].to_numpy()[known],
        np.append(number[1:] != number[:-1], True)[: len(number)],
    )


def put_reads(
    state: HistoryState, seen: SeenComments, users: Int32, before_ms: Int64 | None = None
) -> None:
    """Fill every row of a group with what its person read, the latest `READS_KEPT` comments.

    Args:
        state: Histories of a group without any such comments.
        seen: In the log.
        users: int32[G], dense, the person of each row; somebody may occur in several.
        before_ms: int64[G], only visits that began before it; None for all.
    """
    start = np.searchsorted(seen.user, users, side="left")
    stop = np.searchsorted(seen.user, users, side="right")
    if before_ms is not None:
        keys = (seen.user.astype(np.int64) << _TIME_BITS) + seen.time_ms
        stop = np.searchsorted(keys, (users.astype(np.int64) << _TIME_BITS) + before_ms)
    start = np.maximum(start, stop - READS_KEPT)
    count = np.maximum(stop - start, 0)
    row = np.repeat(np.arange(len(users)), count)
    at = start[row] + rank_in_run(row)
    state.extend_reads(row, seen.comment[at], seen.dwell_ms[at], seen.last[at])
