"""Describe the files of MicroLens: who commented on which video, titles, tags and comments.

Its interactions are comments. A person's comment on a video is one impression, one comment and one
comment event. Comments have no identifiers, so one is made of person and video.
"""

from __future__ import annotations

import polars as pl

from simulator.logs.importers.fields import Constant, Field
from simulator.logs.importers.formats import Format, Role
from simulator.tables import Batch

_VIDEOS = 2**31
_USER = Field("user_id", ("user", "userID", "user_id"), "id", pl.Int64(), required=True)
_VIDEO = Field(
    "video_id",
    ("item", "videoID", "video_id"),
    "id",
    pl.Int64(),
    required=True,
    maximum=_VIDEOS - 1,
)
_TIME = Field("time_ms", ("timestamp",), "time", pl.Int64(), required=True)
_COMMENT = {"comment_id": pl.Int64()}


def _own_comment(batch: Batch) -> pl.DataFrame:
    """The comment that a person wrote on a video."""
    number = pl.col("user_id") * _VIDEOS + pl.col("video_id")
    return batch.frame.with_columns(number.alias("comment_id"))


def _comment(batch: Batch) -> pl.DataFrame:
    return _own_comment(batch).drop("user_id")


MICROLENS = Format(
    "microlens",
    "MicroLens (50k, 100k, 1M)",
    "for research; redistribution is prohibited (MicroLens; Ni et al., 2023)",
    (
        Role(
            "impressions",
            r"MicroLens-.*_pairs\.csv",
            (
                _USER,
                _VIDEO,
                _TIME,
                Constant("is_click", 1, pl.Int8()),
                Constant("is_comment", 1, pl.Int8()),
                Constant("play_time_ms", 0, pl.Int64(), stands_for_unknown=True),
            ),
            names=("user", "item", "timestamp"),
            remark="an impression is a comment that somebody wrote: there are no impressions "
            "without one",
        ),
        Role(
            "comment_events",
            r"MicroLens-.*_pairs\.csv",
            (
                _USER,
                _VIDEO,
                _TIME,
                Constant("is_reply", 1, pl.Int8()),
                Constant("is_like", 0, pl.Int8(), stands_for_unknown=True),
            ),
            names=("user", "item", "timestamp"),
            adjust=_own_comment,
            made=_COMMENT,
            remark="is_reply is 1 because the person wrote this comment",
        ),
        Role(
            "comments",
            r"MicroLens-.*_comments?(_en)?\.(txt|tsv|csv)",
            (_USER, _VIDEO, Field("text", ("comment",), "text", pl.String(), sentinels=())),
            delimiter="\t",
            names=("user", "item", "comment"),
            adjust=_comment,
            made=_COMMENT,
            remark="of several comments by one person on one video the first is kept",
        ),
        Role(
            "captions",
            r"MicroLens-.*_titles?(_en)?\.csv",
            (_VIDEO, Field("caption", ("title",), "text", pl.String(), sentinels=("No title",))),
            names=("item", "title"),
        ),
        Role(
            "categories",
            r"tags_to_summary\.csv",
            (_VIDEO, Field("category", ("tag",), "text", pl.String())),
            names=("item", "tag"),
        ),
    ),
    recognise=("user", "item", "timestamp"),
    language="en",
    seen="its documentation only",
)
