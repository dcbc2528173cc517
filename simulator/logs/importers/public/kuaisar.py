"""Describe the files of KuaiSAR: the recommendation log; searches have no place in the format."""

from __future__ import annotations

import polars as pl

from simulator.logs.importers.fields import SENTINELS, Field
from simulator.logs.importers.formats import Format, Role

_VIDEO = Field("video_id", ("item_id",), "id", pl.Int64(), required=True)


def _label(target: str, source: str, *, required: bool = False) -> Field:
    return Field(target, (source,), "label", pl.Int8(), required=required)


KUAISAR = Format(
    "kuaisar",
    "KuaiSAR",
    "CC BY-NC-SA 4.0 (KuaiSAR; Sun et al., CIKM 2023)",
    (
        Role(
            "impressions",
            r"rec_inter\.csv",
            (
                Field("user_id", ("user_id",), "id", pl.Int64(), required=True),
                _VIDEO,
                Field("time_ms", ("timestamp",), "time", pl.Int64(), required=True),
                Field("play_time_ms", ("playing_time",), "play", pl.Int64(), required=True),
                Field("duration_ms", ("duration_ms",), "duration", pl.Int64()),
                _label("is_click", "click", required=True),
                _label("is_forward", "forward"),
                _label("is_like", "like"),
                _label("is_follow", "follow"),
            ),
            remark="clicked and unclicked rows were balanced by the publisher: the click rate is "
            "not the platform's",
        ),
        Role(
            "users",
            r"user_features\.csv",
            (Field("user_id", ("user_id",), "id", pl.Int64(), required=True),),
        ),
        Role(
            "videos",
            r"item_features\.csv",
            (
                _VIDEO,
                Field(
                    "author_id", ("author_id",), "number", pl.Int64(), sentinels=(*SENTINELS, "0")
                ),
                Field("video_type", ("item_type",), "text", pl.String()),
                Field("category", ("first_level_category_name",), "text", pl.String()),
                Field("upload_time_ms", ("upload_time",), "day", pl.Int64()),
            ),
        ),
    ),
    recognise=("playing_time", "click"),
    language="zh",
    seen="its documentation only",
)
