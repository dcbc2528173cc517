"""What people did on each day of a log, in the same columns as a simulation's outcomes.

These rows are the pre-period of an experiment on people of a real log: covariates for variance
reduction and the check that the arms were alike before they differed.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.logs.dataset import Dataset
from simulator.outcomes import METRICS

_DAY_MS = 86_400_000
_CHINA_OFFSET_MS = 8 * 3_600_000

_SUMS = {
    "clicks": "is_click",
    "long_views": "long_view",
    "play_time_ms": "play_time_ms",
    "likes": "is_like",
    "follows": "is_follow",
    "comments_written": "is_comment",
    "forwards": "is_forward",
    "hates": "is_hate",
    "comment_watch_time_ms": "comment_stay_time",
}


def user_days_of_log(dataset: Dataset, user_ids: NDArray[np.int64]) -> pl.DataFrame:
    """One row per (user_id, day) with at least one impression.

    Args:
        dataset: The log. Columns it lacks count as zero.
        user_ids: int64[G], the people wanted.

    Returns:
        ``user_id``, ``day`` (calendar day in UTC+8 since the Unix epoch) and the columns of
        `simulator.outcomes.METRICS` as float64. ``returned`` is 1 where the next day with an
        impression is the following one.
    """
    wanted = pl.LazyFrame({"user_id": user_ids})
    impressions = dataset.scan("impressions").join(wanted, on="user_id", how="semi")
    day = ((pl.col("time_ms") + _CHINA_OFFSET_MS) // _DAY_MS).cast(pl.Int32).alias("day")
    columns = set(impressions.collect_schema().names())
    aggregates = [
        pl.col(source).sum().cast(pl.Float64).alias(name)
        for name, source in _SUMS.items()
        if source in columns
    ]
    if "comment_stay_time" in columns:
        opened = (pl.col("comment_stay_time") > 0).sum().cast(pl.Float64)
        aggregates.append(opened.alias("comment_opens"))
    sessions = pl.col("session_id").n_unique() if "session_id" in columns else pl.lit(1)
    aggregates += [
        pl.len().cast(pl.Float64).alias("impressions"),
        sessions.cast(pl.Float64).alias("sessions"),
        pl.lit(1.0).alias("active"),
    ]
    days = impressions.with_columns(day).group_by("user_id", "day").agg(aggregates)
    if dataset.has("comment_events"):
        events = dataset.scan("comment_events").join(wanted, on="user_id", how="semi")
        per_day = (
            events.with_columns(day)
            .group_by("user_id", "day")
            .agg(
                pl.col("is_like").sum().cast(pl.Float64).alias("comment_likes"),
                pl.col("is_reply").sum().cast(pl.Float64).alias("comment_replies"),
                pl.len().cast(pl.Float64).alias("comments_shown"),
            )
        )
        days = days.join(per_day, on=["user_id", "day"], how="left")
    frame = days.sort("user_id", "day").collect()
    following = (pl.col("day").shift(-1).over("user_id") == pl.col("day") + 1).fill_null(False)
    frame = frame.with_columns(following.cast(pl.Float64).alias("returned"))
    missing = [pl.lit(0.0).alias(name) for name in METRICS if name not in frame.columns]
    return frame.with_columns(missing).select(
        "user_id", "day", *[pl.col(name).fill_null(0.0) for name in METRICS]
    )
