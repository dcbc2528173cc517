"""Describe the video files of Tenrec: one row per exposure, without a time."""

from __future__ import annotations

import polars as pl

from simulator.logs.importers.fields import Constant, Field
from simulator.logs.importers.formats import Format, Role
from simulator.tables import Batch

_START_MS = 1_640_995_200_000
"""1 January 2022, UTC."""
_BETWEEN_MS = 1_000
_NOTHING = ("\\N",)


def _timed(batch: Batch) -> pl.DataFrame:
    """One second between rows; a person's rows keep their order."""
    time = pl.Series("time_ms", _START_MS + batch.lines * _BETWEEN_MS, dtype=pl.Int64)
    return batch.frame.with_columns(time)


def _label(target: str, source: str, *, required: bool = False) -> Field:
    return Field(target, (source,), "label", pl.Int8(), required=required, sentinels=_NOTHING)


TENREC = Format(
    "tenrec",
    "Tenrec",
    "Tenrec's licence: research only, no redistribution (Yuan et al., NeurIPS 2022)",
    (
        Role(
            "impressions",
            r"(Q[KB]-video.*|ctr_data_1M)\.csv",
            (
                Field("user_id", ("user_id",), "id", pl.Int64(), required=True),
                Field("video_id", ("item_id",), "id", pl.Int64(), required=True),
                _label("is_click", "click", required=True),
                _label("is_follow", "follow"),
                _label("is_like", "like"),
                _label("is_forward", "share"),
                Field("tab", ("video_category",), "number", pl.Int16(), sentinels=_NOTHING),
                Constant("play_time_ms", 0, pl.Int64(), stands_for_unknown=True),
            ),
            adjust=_timed,
            made={"time_ms": pl.Int64()},
            remark="the source has no times: they are made of the order of rows, and sessions and "
            "hours with them; tab is the category of the video; watching_times counts repeats and "
            "is no play time",
        ),
    ),
    recognise=("click", "watching_times"),
    seen="its documentation only",
)
