"""Read sequences of positive events from a log, and the histories they leave behind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.catalogue import lookup
from simulator.logs.dataset import Dataset
from simulator.logs.scanning import batches
from simulator.memory import memory_limit, require_room
from simulator.requests import (
    COMMENTS_PER_EVENT,
    Int32,
    Int64,
    Signal,
)

ENGAGED = (pl.col("is_like") == 1) | (pl.col("is_reply") == 1)
"""Comment events in which somebody engaged with a section, not only saw a comment of it."""
NEW_VISIT = (
    (pl.col("user_id") != pl.col("user_id").shift(1))
    | (pl.col("video_id") != pl.col("video_id").shift(1))
).fill_null(True)
"""First of a visit, in such events sorted by user and time.

A visit is interactions at the same (user, video, time), or, in logs that stamp each interaction,
consecutive ones of a user on the same video.
"""


BYTES_PER_EVENT = 40
"""What an event takes while all of them are sorted."""
LESS = "Take part of the people: abtest run --data DATASET --sample-users 20000"
_MARKS: dict[Signal, tuple[str, pl.Expr]] = {
    "clicked": ("is_click", pl.col("is_click") == 1),
    "liked": ("is_like", pl.col("is_like") == 1),
    "discussed": ("comment_stay_time", pl.col("comment_stay_time") > 0),
}
"""Signal to the column of impressions that tells its events, and which rows are events."""
_PENDING = 1_000_000
"""Events that wait, at most, until only the latest of each person are kept."""


class Interactions(NamedTuple):
    """Events of one signal, sorted by user, then time, then order in the log.

    Attributes:
        user: int32[n], dense user index.
        video: int32[n], dense video index.
        time_ms: int64[n]; of a visit of a comment section, its last interaction's.
        comments: int32[n, 3], dense comment indices padded with -1; None except for ``discussed``
            on a log with comment events.
        begun_ms: int64[n], the first interaction's; None where ``comments`` is.
    """

    user: Int32
    video: Int32
    time_ms: Int64
    comments: Int32 | None
    begun_ms: Int64 | None = None


def interactions(
    dataset: Dataset,
    signal: Signal,
    *,
    before_ms: int | None = None,
    users: Int32 | None = None,
    latest: int | None = None,
) -> Interactions:
    """All events of one signal.

    The impressions are read in batches; memory holds the events alone: 16 bytes each, and while
    they are sorted as much again and 8 more. With ``latest`` there are never many more of them
    than are returned.

    Args:
        dataset: The log.
        signal: ``clicked`` (is_click), ``liked`` (is_like), or ``discussed``: videos in whose
            comment section the user liked or replied; on a log without comment events, videos
            whose comment section the user opened (comment_stay_time > 0).
        before_ms: Only events strictly before this time.
        users: int32[G], dense: only events of these people; None for everyone's.
        latest: Only each person's last so many events on videos of the catalogue; None for all.
            Of ``discussed`` on a log with comment events, all the same.

    Raises:
        DataError: an event of somebody who is not in table ``users``.
        TooLarge: everybody's events take more memory than there is.
    """
    wanted = None
    if users is not None:
        wanted = np.zeros(len(dataset.user_ids()), dtype=np.bool_)
        wanted[users] = True
    if signal == "discussed" and dataset.has("comment_events"):
        return _discussed(dataset, before_ms, wanted)
    column, label = _MARKS[signal]
    if not dataset.has_column("impressions", column):
        empty = np.empty(0, dtype=np.int32)
        return Interactions(empty, empty, np.empty(0, dtype=np.int64), None)
    if before_ms is not None:
        label &= pl.col("time_ms") < before_ms
    if users is None and latest is None:
        require_room_for(dataset, "impressions", label, BYTES_PER_EVENT, f"{signal} videos")
    catalogue = dataset.catalogue()
    parts = []
    for _, rows in batches(dataset, "impressions", ["user_id", "video_id", "time_ms", column]):
        events = rows.filter(label)
        user = _user_index(dataset, "impressions", events["user_id"].to_numpy())
        video = catalogue.video_index(events["video_id"].to_numpy())
        time_ms = events["time_ms"].to_numpy().astype(np.int64)
        own = slice(None) if wanted is None else wanted[user]
        parts.append((user[own], video[own], time_ms[own]))
        if latest is not None and sum(len(part[0]) for part in parts[1:]) > _PENDING:
            parts = [_latest(_sorted(parts), latest)[:3]]
    found = _sorted(parts)
    return found if latest is None else _latest(found, latest)


def has_events(dataset: Dataset, signal: Signal) -> bool:
    """Whether a log holds any event of one signal; see `interactions`."""
    table, (column, label) = "impressions", _MARKS[signal]
    if signal == "discussed" and dataset.has("comment_events"):
        table, column, label = "comment_events", "is_like", ENGAGED
    if not dataset.has_column(table, column):
        return False
    found = dataset.scan(table).select(label.any()).collect(engine="streaming").item()
    return bool(found)


def require_room_for(dataset: Dataset, table: str, label: pl.Expr, size: int, events: str) -> None:
    """Refuse to read more events than memory holds; they are counted only where that can be.

    Args:
        dataset: The log.
        table: Where the events are.
        label: Which rows are events.
        size: Bytes that one takes.
        events: What they are, for the message.

    Raises:
        TooLarge: they take more memory than there is.
    """
    if size * dataset.info.rows.get(table, 0) <= memory_limit():
        return
    count = int(dataset.scan(table).select(label.sum()).collect(engine="streaming").item())
    require_room(size * count, f"reading {count:,} {events}", LESS)


def _latest(events: Interactions, count: int) -> Interactions:
    known = np.flatnonzero(events.video >= 0)
    user = events.user[known]
    last = known[np.searchsorted(user, user, side="right") - np.arange(len(user)) <= count]
    return Interactions(events.user[last], events.video[last], events.time_ms[last], None)


def _sorted(parts: list[tuple[Int32, Int32, Int64]]) -> Interactions:
    """By person and time, of parts in the order of the log; empties the list."""
    user, video, time_ms = (
        np.concatenate([part[number] for part in parts] or [np.empty(0, dtype=dtype)])
        for number, dtype in enumerate((np.int32, np.int32, np.int64))
    )
    parts.clear()
    # Stable: events of one moment stay in the order of the log.
    order = np.lexsort((time_ms, user))
    return Interactions(user[order], video[order], time_ms[order], None)


def _user_index(dataset: Dataset, table: str, user_id: Int64) -> Int32:
    index = lookup(dataset.user_ids(), user_id)
    unknown = user_id[index < 0]
    if len(unknown):
        raise DataError(
            f"{dataset.path}: {table} has user_id {unknown[0]}, table 'users' does not.",
            f"See all such rows: abtest data check {dataset.path}",
        )
    return index


def _discussed(
    dataset: Dataset, before_ms: int | None, wanted: NDArray[np.bool_] | None
) -> Interactions:
    label = ENGAGED if before_ms is None else ENGAGED & (pl.col("time_ms") < before_ms)
    if wanted is None:
        # With identifiers, sorted, by visit.
        size = 4 * BYTES_PER_EVENT
        require_room_for(dataset, "comment_events", label, size, "comments liked or replied to")
    frame = (
        of_people(dataset, "comment_events", wanted)
        .filter(label)
        .select("_row", "user_id", "video_id", "comment_id", "time_ms")
        .collect(engine="streaming")
        .sort("user_id", "time_ms", "_row")
        .with_columns(NEW_VISIT.cum_sum().alias("_visit"))
    )
    visits = frame.group_by("_visit", maintain_order=True).agg(
        pl.col("_row").first(),
        pl.col("user_id").first(),
        pl.col("video_id").first(),
        pl.col("time_ms").first().alias("begun_ms"),
        pl.col("time_ms").last(),
    )
    user = _user_index(dataset, "comment_events", visits["user_id"].to_numpy())
    catalogue = dataset.catalogue()
    video = catalogue.video_index(visits["video_id"].to_numpy())
    comments = np.full((visits.height, COMMENTS_PER_EVENT), -1, dtype=np.int32)
    visit = frame["_visit"].to_numpy().astype(np.int64) - 1
    rank = rank_in_run(visit)
    keep = rank < COMMENTS_PER_EVENT
    comments[visit[keep], rank[keep]] = catalogue.comment_index(
        frame["comment_id"].to_numpy()[keep]
    )
    begun, last = (visits[name].to_numpy().astype(np.int64) for name in ("begun_ms", "time_ms"))
    return Interactions(user, video, last, comments, begun)


def of_people(dataset: Dataset, table: str, wanted: NDArray[np.bool_] | None) -> pl.LazyFrame:
    """Rows of some people, with their number in the table as ``_row``; to be collected streaming.

    Args:
        dataset: The log.
        table: Of events.
        wanted: bool[N], of dense users; None for everyone's.
    """
    rows = dataset.scan(table).with_row_index("_row")
    if wanted is None:
        return rows
    ids = pl.LazyFrame({"user_id": dataset.user_ids()[wanted]})
    return rows.join(ids, on="user_id", how="semi")


def rank_in_run(run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of each element inside its run of equal, adjacent values."""
    if len(run) == 0:
        return run
    starts = np.flatnonzero(np.r_[True, run[1:] != run[:-1]])
    lengths = np.diff(np.r_[starts, len(run)])
    return np.arange(len(run)) - np.repeat(starts, lengths)
