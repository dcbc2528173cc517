"""Map the columns of KuaiRand's and KuaiComt's files to columns of the dataset."""

from __future__ import annotations

import polars as pl

from simulator.behaviours import flags_in_file_order
from simulator.logs.importers.fields import SENTINELS, Field

__all__ = ["SENTINELS", "Field"]


def _identifier(target: str, *sources: str) -> Field:
    return Field(target, sources or (target,), "id", pl.Int64(), required=True)


def _label(name: str, *others: str, required: bool = False) -> Field:
    return Field(name, (name, *others), "label", pl.Int8(), required=required)


def _count(target: str, *sources: str) -> Field:
    return Field(target, sources or (target,), "number", pl.Int64())


def _text(target: str, *sources: str) -> Field:
    return Field(target, sources or (target,), "text", pl.String())


VIDEO_NAMES = ("video_id", "photo_id", "final_video_id")

IMPRESSIONS = (
    _identifier("user_id"),
    _identifier("video_id", *VIDEO_NAMES),
    Field("time_ms", ("time_ms",), "time", pl.Int64(), required=True),
    *(_label(b.column, required=b.required) for b in flags_in_file_order()),
    _label("is_rand"),
    Field("play_time_ms", ("play_time_ms",), "play", pl.Int64(), required=True),
    Field("duration_ms", ("duration_ms",), "duration", pl.Int64()),
    Field("profile_stay_time", ("profile_stay_time",), "number", pl.Int64()),
    Field("comment_stay_time", ("comment_stay_time",), "number", pl.Int64()),
    Field("tab", ("tab",), "number", pl.Int16()),
    Field("date", ("date",), "number", pl.Int32()),
    Field("hourmin", ("hourmin", "p_hourmin"), "number", pl.Int16(), maximum=2359),
)  # fmt: skip

COMMENT_EVENTS = (
    _identifier("user_id"),
    _identifier("video_id", "photo_id", "video_id"),
    _identifier("comment_id"),
    Field("time_ms", ("time_stamp",), "time", pl.Int64(), required=True, scale=1000),
    _label("is_like", required=True),
    _label("is_reply", required=True),
)

USERS = (
    _identifier("user_id"),
    Field("user_active_degree", ("user_active_degree",), "text", pl.String()),
    _count("follow_user_num", "follow_user_num", "follow_count"),
    _text("follow_user_num_range"),
    _count("fans_user_num", "fans_user_num", "fans_count"),
    _text("fans_user_num_range"),
    _count("friend_user_num"),
    _text("friend_user_num_range"),
    _count("register_days"),
    _text("register_days_range"),
    _label("is_live_streamer", "is_live_author"),
    _label("is_video_author"),
)

VIDEOS = (
    _identifier("video_id", *VIDEO_NAMES),
    Field("author_id", ("author_id",), "number", pl.Int64()),
    Field("tags", ("tag", "category"), "tags", pl.List(pl.String())),
    _text("caption"),
    Field("duration_ms", ("video_duration", "duration"), "duration", pl.Int64()),
    Field("upload_time_ms", ("upload_dt",), "day", pl.Int64()),
    _text("video_type", "video_type", "photo_type"),
)

CAPTIONS = (_identifier("video_id", *VIDEO_NAMES), _text("caption"))
CATEGORIES = (
    _identifier("video_id", *VIDEO_NAMES),
    _text("category", "first_level_category_name"),
)

COMMENTS = (
    _identifier("comment_id"),
    _identifier("video_id", *VIDEO_NAMES),
    _text("text", "comment_content"),
    _count("like_count", "comment_like_cnt"),
    _count("reply_count", "comment_reply_out"),
)
