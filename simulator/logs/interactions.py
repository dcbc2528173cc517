"""Read sequences of positive events from a log, and the histories they leave behind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.catalogue import lookup
from simulator.logs.dataset import Dataset
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


def interactions(dataset: Dataset, signal: Signal, *, before_ms: int | None = None) -> Interactions:
    """All events of one signal.

    Args:
        dataset: The log.
        signal: ``clicked`` (is_click), ``liked`` (is_like), or ``discussed``: videos in whose
            comment section the user liked or replied; on a log without comment events, videos
            whose comment section the user opened (comment_stay_time > 0).
        before_ms: Only events strictly before this time.

    Raises:
        DataError: an event of somebody who is not in table ``users``.
    """
    if signal == "discussed" and dataset.has("comment_events"):
        return _discussed(dataset, before_ms)
    label = {
        "clicked": pl.col("is_click") == 1,
        "liked": pl.col("is_like") == 1,
        "discussed": pl.col("comment_stay_time") > 0,
    }[signal]
    column = {"clicked": "is_click", "liked": "is_like", "discussed": "comment_stay_time"}[signal]
    if not dataset.has_column("impressions", column):
        empty = np.empty(0, dtype=np.int32)
        return Interactions(empty, empty, np.empty(0, dtype=np.int64), None)
    rows = dataset.scan("impressions").with_row_index("_row").filter(label)
    if before_ms is not None:
        rows = rows.filter(pl.col("time_ms") < before_ms)
    frame = rows.select("_row", "user_id", "video_id", "time_ms").collect()
    return Interactions(*_dense(dataset, frame), None)


def _dense(dataset: Dataset, frame: pl.DataFrame) -> tuple[Int32, Int32, Int64]:
    frame = frame.sort("user_id", "time_ms", "_row")
    user = _user_index(dataset, "impressions", frame["user_id"].to_numpy())
    video = dataset.catalogue().video_index(frame["video_id"].to_numpy())
    return user, video, frame["time_ms"].to_numpy().astype(np.int64)


def _user_index(dataset: Dataset, table: str, user_id: Int64) -> Int32:
    index = lookup(dataset.user_ids(), user_id)
    unknown = user_id[index < 0]
    if len(unknown):
        raise DataError(
            f"{dataset.path}: {table} has user_id {unknown[0]}, table 'users' does not.",
            f"See all such rows: abtest data check {dataset.path}",
        )
    return index


def _discussed(dataset: Dataset, before_ms: int | None) -> Interactions:
    rows = dataset.scan("comment_events").with_row_index("_row").filter(ENGAGED)
    if before_ms is not None:
        rows = rows.filter(pl.col("time_ms") < before_ms)
    frame = (
        rows.select("_row", "user_id", "video_id", "comment_id", "time_ms")
        .collect()
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


def rank_in_run(run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of each element inside its run of equal, adjacent values."""
    if len(run) == 0:
        return run
    starts = np.flatnonzero(np.r_[True, run[1:] != run[:-1]])
    lengths = np.diff(np.r_[starts, len(run)])
    return np.arange(len(run)) - np.repeat(starts, lengths)
