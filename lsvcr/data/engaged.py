"""Find what each person engaged with in a comment section, and what they saw and skipped."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from policies.errors import PolicyError
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import ENGAGED, rank_in_run

MOST = 32

Int64 = NDArray[np.int64]


def engaged_comments(
    dataset: Dataset, user: NDArray[np.integer], video: NDArray[np.integer]
) -> Int64:
    """Comments that are no negatives of a visit: the person likes them, on this visit or another.

    Args:
        dataset: A log with comment events.
        user: int[n], dense, of the visits.
        video: int[n], dense.

    Returns:
        int64[n, <= 32], dense comments in the order in which the log names them, -1 padded: liked
        or replied to by the person under the video.
    """
    found = _comments(dataset, user, video, _own(dataset))
    return found[:, : int((found >= 0).sum(axis=1).max(initial=0))]


def skipped_comments(
    dataset: Dataset, user: NDArray[np.integer], video: NDArray[np.integer]
) -> Int64:
    """What each visit of a comment section left alone.

    A comment that nobody saw says nothing about a taste; one that was seen and skipped does
    (negatives among impressions: Covington, Adams & Sargin, RecSys 2016, section 4.1).

    Args:
        dataset: A log with comment events.
        user: int[n], dense, of the visits.
        video: int[n], dense.

    Returns:
        int64[n, 32], dense comments in the order in which the log names them, -1 padded: seen by
        the person under the video, at whichever visit, and never liked or replied to by them.

    Raises:
        PolicyError: the log names only comments that somebody took part in.
    """
    if not dataset.has("comment_events") or len(user) == 0:
        return np.full((len(user), MOST), -1, dtype=np.int64)
    events = dataset.scan("comment_events").with_row_index("_row")
    if dataset.has_column("comment_events", "is_shown"):
        events = events.filter(pl.col("is_shown") == 1)
    seen = events.filter(~ENGAGED.fill_null(False))
    key = ["user_id", "video_id", "comment_id"]
    found = _comments(dataset, user, video, seen.join(_own(dataset), on=key, how="anti"))
    if (found < 0).all():
        raise PolicyError(
            f"{dataset.path} does not say which comments were seen and skipped.",
            'Take other comments of the section: comment_negatives = "section".',
        )
    return found


def _own(dataset: Dataset) -> pl.LazyFrame:
    return dataset.scan("comment_events").with_row_index("_row").filter(ENGAGED)


def _comments(
    dataset: Dataset,
    user: NDArray[np.integer],
    video: NDArray[np.integer],
    events: pl.LazyFrame,
) -> Int64:
    """int64[n, 32]: the comments of some events, by the person and the video of each visit."""
    catalogue = dataset.catalogue()
    distinct = (
        events.group_by("user_id", "video_id", "comment_id").agg(pl.col("_row").min()).sort("_row")
    )
    visits = pl.LazyFrame(
        {
            "user_id": dataset.user_ids()[user],
            "video_id": catalogue.video_ids[video],
            "visit": np.arange(len(user)),
        }
    )
    rows = visits.join(distinct, on=["user_id", "video_id"]).sort("visit", "_row").collect()
    comment = catalogue.comment_index(rows["comment_id"].to_numpy())
    visit = rows["visit"].to_numpy()[comment >= 0]
    place = rank_in_run(visit)
    kept = place < MOST
    found = np.full((len(user), MOST), -1, dtype=np.int64)
    found[visit[kept], place[kept]] = comment[comment >= 0][kept]
    return found
