"""Comments that somebody saw in a section and passed over, beside those they took part in."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from policies.errors import PolicyError
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import TAKEN_PART, rank_in_run

MOST = 32

Int64 = NDArray[np.int64]


def passed_over(dataset: Dataset, user: NDArray[np.integer], video: NDArray[np.integer]) -> Int64:
    """What each visit of a comment section left alone.

    A comment that nobody saw says nothing about a taste; one that was seen and passed over does
    (negatives among impressions: Covington, Adams & Sargin, RecSys 2016, section 4.1).

    Args:
        dataset: A log with comment events.
        user: int[n], dense, of the visits.
        video: int[n], dense.

    Returns:
        int64[n, 32], dense comments in the order in which the log names them, -1 padded: seen by
        the person under the video, at whichever visit, and neither liked nor replied to.

    Raises:
        PolicyError: the log names only comments that somebody took part in.
    """
    catalogue = dataset.catalogue()
    found = np.full((len(user), MOST), -1, dtype=np.int64)
    if not dataset.has("comment_events") or len(user) == 0:
        return found
    events = dataset.scan("comment_events").with_row_index("_row")
    if dataset.has_column("comment_events", "is_shown"):
        events = events.filter(pl.col("is_shown") == 1)
    seen = events.filter(~TAKEN_PART.fill_null(False)).select(
        "_row", "user_id", "video_id", "comment_id"
    )
    visits = pl.LazyFrame(
        {
            "user_id": dataset.user_ids()[user],
            "video_id": catalogue.video_ids[video],
            "visit": np.arange(len(user)),
        }
    )
    rows = visits.join(seen, on=["user_id", "video_id"]).sort("visit", "_row").collect()
    if rows.height == 0:
        raise PolicyError(
            f"{dataset.path} does not say which comments were seen and passed over.",
            'Take other comments of the section: comment_rivals = "section".',
        )
    comment = catalogue.comment_index(rows["comment_id"].to_numpy())
    visit = rows["visit"].to_numpy()[comment >= 0]
    place = rank_in_run(visit)
    kept = place < MOST
    found[visit[kept], place[kept]] = comment[comment >= 0][kept]
    return found
