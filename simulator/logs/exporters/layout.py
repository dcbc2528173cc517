"""Lay out the files of each format: names, columns and their order, sentinels.

What a column means is not written here but in the importers' tables
(`simulator.logs.importers.columns`): a file column is the dataset column that the importer makes
of it. A column of the format that the dataset has no place for stays empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.logs.importers import columns
from simulator.logs.importers.columns import Field


@dataclass(frozen=True)
class FileLayout:
    """One file.

    Attributes:
        name: File name; ``{span}`` stands for the days of a log.
        table: Table of the dataset it is written from.
        header: Columns, in order.
        fields: What the importer makes of them; the first match counts.
        unknown: Column to the text of a missing value, where that is not an empty cell.
        decimal: Columns of whole numbers that the format writes as ``12.0``.
        constant: Columns that the format requires and that always hold this text.
    """

    name: str
    table: str
    header: tuple[str, ...]
    fields: tuple[Field, ...]
    unknown: dict[str, str] = field(default_factory=dict)
    decimal: frozenset[str] = frozenset()
    constant: dict[str, str] = field(default_factory=dict)

    def field_of(self, column: str) -> Field | None:
        """What the importer makes of a column of the file; None if nothing."""
        return next((f for f in self.fields if column in f.sources), None)

    def targets(self) -> set[str]:
        """Columns of the dataset that this file carries."""
        found = (self.field_of(column) for column in self.header)
        return {f.target for f in found if f is not None}


_SENTINEL = "-124"
_UNKNOWN = "UNKNOWN"


def _onehot(count: int) -> tuple[str, ...]:
    return tuple(f"onehot_feat{number}" for number in range(count))


_KUAIRAND_LOG = (
    "user_id", "video_id", "date", "hourmin", "time_ms", "is_click", "is_like", "is_follow",
    "is_comment", "is_forward", "is_hate", "long_view", "play_time_ms", "duration_ms",
    "profile_stay_time", "comment_stay_time", "is_profile_enter", "is_rand", "tab",
)  # fmt: skip
_LEVELS = ("second", "third", "fourth")

KUAIRAND_STANDARD = FileLayout(
    "log_standard_{span}.csv",
    "impressions",
    _KUAIRAND_LOG,
    columns.IMPRESSIONS,
    unknown={"duration_ms": "0"},
)
KUAIRAND_RANDOM = FileLayout(
    "log_random_{span}.csv",
    "impressions",
    _KUAIRAND_LOG,
    columns.IMPRESSIONS,
    unknown={"duration_ms": "0"},
)
KUAIRAND_CATEGORIES = FileLayout(
    "kuairand_video_categories.csv",
    "videos",
    (
        "final_video_id",
        *(
            f"{level}_level_category_{part}"
            for level in ("first", *_LEVELS)
            for part in ("id", "name", "prob")
        ),
    ),
    columns.CATEGORIES,
    unknown={"first_level_category_name": _UNKNOWN},
    constant={
        **{f"{level}_level_category_id": f"{_SENTINEL}.0" for level in _LEVELS},
        **{f"{level}_level_category_name": _UNKNOWN for level in _LEVELS},
        **{f"{level}_level_category_prob": "0.0" for level in _LEVELS},
    },
)
KUAIRAND_CAPTIONS = FileLayout(
    "kuairand_video_captions.csv",
    "videos",
    ("final_video_id", "caption", "show_cover_text", "duration"),
    (*columns.CAPTIONS, *columns.VIDEOS),
    decimal=frozenset({"duration"}),
)
KUAIRAND_FEATURES = (
    FileLayout(
        "user_features.csv",
        "users",
        (
            "user_id", "user_active_degree", "is_lowactive_period", "is_live_streamer",
            "is_video_author", "follow_user_num", "follow_user_num_range", "fans_user_num",
            "fans_user_num_range", "friend_user_num", "friend_user_num_range", "register_days",
            "register_days_range", *_onehot(18),
        ),
        columns.USERS,
        unknown={"user_active_degree": _UNKNOWN, "is_live_streamer": _SENTINEL},
    ),
    FileLayout(
        "video_features_basic.csv",
        "videos",
        (
            "video_id", "author_id", "video_type", "upload_dt", "upload_type", "visible_status",
            "video_duration", "server_width", "server_height", "music_id", "music_type", "tag",
        ),
        columns.VIDEOS,
        unknown={"video_type": _UNKNOWN},
        decimal=frozenset({"video_duration"}),
    ),
)  # fmt: skip

KUAICOMT_LOG = FileLayout(
    "user_video_inter.csv",
    "impressions",
    (
        "user_id", "video_id", "p_hourmin", "time_ms", "is_click", "is_like", "is_follow",
        "is_comment", "is_forward", "is_collect", "is_hate", "long_view", "play_time_ms",
        "duration_ms", "profile_stay_time", "comment_stay_time",
    ),
    columns.IMPRESSIONS,
    unknown={"duration_ms": "0.0"},
    decimal=frozenset({"time_ms", "play_time_ms", "duration_ms"}),
)  # fmt: skip
KUAICOMT_COMMENT_EVENTS = FileLayout(
    "user_comment_inter.csv",
    "comment_events",
    ("user_id", "comment_id", "time_stamp", "photo_id", "is_like", "is_reply"),
    columns.COMMENT_EVENTS,
)
KUAICOMT_VIDEOS = FileLayout(
    "video_features.csv",
    "videos",
    ("video_id", "author_id", "video_type", "upload_dt", "caption", "duration", "category"),
    columns.VIDEOS,
    unknown={"video_type": _UNKNOWN},
    decimal=frozenset({"duration"}),
)
KUAICOMT_FEATURES = (
    FileLayout(
        "user_features.csv",
        "users",
        (
            "user_id", "user_active_degree", "is_live_author", "produce_video_num", "follow_count",
            "follow_user_num_range", "fans_count", "fans_user_num_range", "friend_user_num_range",
            "register_days", *_onehot(21),
        ),
        columns.USERS,
        unknown={"user_active_degree": _UNKNOWN, "is_live_author": _SENTINEL},
    ),
    KUAICOMT_VIDEOS,
    FileLayout(
        "comment_features.csv",
        "comments",
        (
            "comment_id", "comment_content", "video_id", "comment_like_cnt", "comment_reply_out",
            "show_comment_cnt_td",
        ),
        columns.COMMENTS,
    ),
)  # fmt: skip
