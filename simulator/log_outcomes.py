"""Add up what people did on each day of a log, in the columns of a simulation's outcomes.

These rows are the pre-period of an experiment on people of a real log: covariates for variance
reduction and the check that the arms were alike before they differed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.behaviours import OUTCOMES, Kind, of_kind
from simulator.calendar import china_day
from simulator.logs.dataset import Dataset


def user_days_of_log(dataset: Dataset, user_ids: NDArray[np.int64]) -> pl.DataFrame:
    """One row per (user_id, day) with at least one impression.

    Args:
        dataset: The log. Columns it lacks count as zero.
        user_ids: int64[G], the people wanted.

    Returns:
        ``user_id``, ``day`` (calendar day in UTC+8 since the Unix epoch) and the columns of
        `simulator.behaviours.OUTCOMES` as float64. ``returned`` is 1 where the next day with an
        impression is the following one.
    """
    wanted = pl.LazyFrame({"user_id": user_ids})
    impressions = dataset.scan("impressions").join(wanted, on="user_id", how="semi")
    day = china_day(pl.col("time_ms")).cast(pl.Int32).alias("day")
    columns = set(impressions.collect_schema().names())
    aggregates = [
        amount.sum().cast(pl.Float64).alias(name)
        for name, source, amount in _amounts("flag", "time", "visit")
        if source in columns
    ]
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
                *(a.sum().cast(pl.Float64).alias(name) for name, _, a in _amounts("comment")),
                pl.len().cast(pl.Float64).alias("comments_shown"),
            )
        )
        days = days.join(per_day, on=["user_id", "day"], how="left")
    # In one pass of bounded memory: the other people's rows are not held.
    frame = days.sort("user_id", "day").collect(engine="streaming")
    following = (pl.col("day").shift(-1).over("user_id") == pl.col("day") + 1).fill_null(False)
    frame = frame.with_columns(following.cast(pl.Float64).alias("returned"))
    missing = [pl.lit(0.0).alias(name) for name in OUTCOMES if name not in frame.columns]
    return frame.with_columns(missing).select(
        "user_id", "day", *[pl.col(name).fill_null(0.0) for name in OUTCOMES]
    )


def _amounts(*kinds: Kind) -> Iterator[tuple[str, str, pl.Expr]]:
    """(outcome column, column of the log, what a row adds) of these kinds of behaviours."""
    for behaviour in of_kind(*kinds):
        # Every row of comment events is a comment that was seen, flagged or not.
        if behaviour.outcome is None or behaviour.name == "comment_shown":
            continue
        value = pl.col(behaviour.column)
        yield behaviour.outcome, behaviour.column, value > 0 if behaviour.kind == "visit" else value
