"""Describe the files of VK-LSVD: a week of interactions per Parquet file, in order of time."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import polars as pl

from simulator.logs.importers.expressions import parse
from simulator.logs.importers.fields import Computed, Field
from simulator.logs.importers.formats import Format, Role
from simulator.tables import Batch, label

_START_MS = 1_735_689_600_000
"""1 January 2025, UTC; the log begins in January 2025."""
_WEEK_MS = 7 * 86_400_000


@lru_cache(maxsize=64)
def _rows(path: Path) -> int:
    return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


def _timed(batch: Batch) -> pl.DataFrame:
    """Rows of a week spread evenly over it; comments opened or not."""
    match = re.search(r"week_(\d+)", batch.path.name)
    week = int(match[1]) if match else 0
    order = pl.Series("row", batch.lines - 1)
    time = _START_MS + week * _WEEK_MS + order * _WEEK_MS // max(_rows(batch.path), 1)
    return batch.frame.with_columns(time.cast(pl.Int64).alias("time_ms"))


def _label(target: str, source: str) -> Field:
    return Field(target, (source,), "label", pl.Int8())


VK_LSVD = Format(
    "vk-lsvd",
    "VK-LSVD",
    "Apache-2.0 (VK-LSVD)",
    (
        Role(
            "impressions",
            r"week_\d+.*\.parquet",
            (
                Field("user_id", ("user_id",), "id", pl.Int64(), required=True),
                Field("video_id", ("item_id",), "id", pl.Int64(), required=True),
                Field(
                    "play_time_ms", ("timespent",), "play", pl.Int64(), required=True, scale=1000
                ),
                Computed("is_click", parse("timespent > 7"), label(required=True)),
                _label("is_like", "like"),
                _label("is_hate", "dislike"),
                _label("is_forward", "share"),
                _label("is_collect", "bookmark"),
                _label("is_profile_enter", "click_on_author"),
                Field("comment_stay_time", ("open_comments",), "number", pl.Int64()),
                Field("tab", ("place",), "number", pl.Int16()),
            ),
            adjust=_timed,
            made={"time_ms": pl.Int64()},
            remark="the source has an order within each week and no times: times, sessions and "
            "hours are made up; comment_stay_time is 1 ms where comments were opened; is_click is "
            "made: more than 7 s",
        ),
        Role(
            "users",
            r"users_metadata\.parquet",
            (Field("user_id", ("user_id",), "id", pl.Int64(), required=True),),
            remark="age, gender and place of living are left out: personal attributes",
        ),
        Role(
            "videos",
            r"items_metadata\.parquet",
            (
                Field("video_id", ("item_id",), "id", pl.Int64(), required=True),
                Field("author_id", ("author_id",), "number", pl.Int64()),
                Field("duration_ms", ("duration",), "duration", pl.Int64(), scale=1000),
            ),
        ),
    ),
    recognise=("timespent", "open_comments"),
    seen="its documentation, and the rows on its page",
)
