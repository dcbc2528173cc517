"""Describe the files of KuaiRec 2.0."""

from __future__ import annotations

import polars as pl

from simulator.logs.importers import columns
from simulator.logs.importers.expressions import parse
from simulator.logs.importers.fields import CHINA, Computed, Field
from simulator.logs.importers.formats import Format, Role
from simulator.tables import label

_VIDEO = Field("video_id", ("video_id",), "id", pl.Int64(), required=True)
# KuaiRand's rules, because KuaiRec has no such labels.
_CLICK = "play_duration > 7000 or play_duration >= if_null(video_duration, 7000)"
_LONG = "play_duration >= min(video_duration, 18000)"

KUAIREC = Format(
    "kuairec",
    "KuaiRec 2.0",
    "CC BY-SA 4.0 (KuaiRec; Gao et al., CIKM 2022)",
    (
        Role(
            "impressions",
            r"(big|small)_matrix\.csv",
            (
                Field("user_id", ("user_id",), "id", pl.Int64(), required=True),
                _VIDEO,
                Field("time_ms", ("timestamp",), "time", pl.Int64(), required=True, scale=1000),
                Field("play_time_ms", ("play_duration",), "play", pl.Int64(), required=True),
                Field("duration_ms", ("video_duration",), "duration", pl.Int64()),
                Field("date", ("date",), "number", pl.Int32()),
                Computed("is_click", parse(_CLICK), label(required=True)),
                Computed("long_view", parse(_LONG), label()),
            ),
            remark="is_click and long_view are made by KuaiRand's rules; rows of small_matrix "
            "without a time are bad rows",
        ),
        Role("users", r"user_features\.csv", columns.USERS),
        Role(
            "videos",
            r"item_daily_features\.csv",
            (
                _VIDEO,
                Field("author_id", ("author_id",), "number", pl.Int64()),
                Field("video_type", ("video_type",), "text", pl.String()),
                Field("duration_ms", ("video_duration",), "duration", pl.Int64()),
                Field("upload_time_ms", ("upload_dt",), "day", pl.Int64(), zone=CHINA),
            ),
        ),
        Role(
            "tags",
            r"item_categories\.csv",
            (_VIDEO, Field("tags", ("feat",), "list", pl.List(pl.String()))),
        ),
        Role(
            "captions",
            r"kuairec_caption_category\.csv",
            (_VIDEO, Field("caption", ("caption",), "text", pl.String())),
        ),
        Role(
            "categories",
            r"kuairec_caption_category\.csv",
            (_VIDEO, Field("category", ("first_level_category_name",), "text", pl.String())),
        ),
    ),
    recognise=("play_duration", "watch_ratio"),
    language="zh",
    seen="headers and rows of its matrices",
)
