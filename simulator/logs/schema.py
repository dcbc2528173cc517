"""Define the log format: tables, columns, types, units and what values may be.

Names, types and units follow KuaiRand and KuaiComt, so that real and simulated logs are the same
thing. See docs/log-format.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from simulator.behaviours import BY_NAME, flags_in_file_order, of_kind

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Column name.
        dtype: Polars type on disk.
        doc: What it is.
        unit: "ms", "count", "0/1" or "".
        required: Whether a table without it is refused.
        nullable: Whether a value may be missing.
        minimum: Smallest valid value, or None.
        maximum: Largest valid value, or None.
    """

    name: str
    dtype: pl.DataType
    doc: str
    unit: str = ""
    required: bool = False
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class TableFormat:
    """One table of a dataset.

    Attributes:
        name: Directory name inside the dataset.
        columns: Known columns; others pass through untouched.
        key: Columns that identify a row, or empty where nothing does.
        required: Whether a dataset without it is refused.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    required: bool = False

    def column(self, name: str) -> Column | None:
        """The column of that name, None if the format does not know it."""
        return next((c for c in self.columns if c.name == name), None)

    def dtypes(self) -> dict[str, pl.DataType]:
        """Column name to type, in order."""
        return {c.name: c.dtype for c in self.columns}


def _identifier(name: str, doc: str, required: bool = True) -> Column:
    return Column(name, pl.Int64(), doc, required=required, nullable=not required, minimum=0)


def _label(name: str, doc: str, required: bool = False) -> Column:
    return Column(
        name, pl.Int8(), doc, "0/1", required=required, nullable=not required, minimum=0, maximum=1
    )


def _milliseconds(name: str, doc: str, required: bool = False) -> Column:
    return Column(name, pl.Int64(), doc, "ms", required=required, nullable=not required, minimum=0)


def _time(behaviour: str) -> Column:
    row = BY_NAME[behaviour]
    return _milliseconds(row.column, row.doc, row.required)


def _count(name: str, doc: str) -> Column:
    return Column(name, pl.Int64(), doc, "count", minimum=0)


IMPRESSIONS = TableFormat(
    "impressions",
    (
        _identifier("user_id", "who"),
        _identifier("video_id", "what was shown"),
        _identifier("session_id", "session within the user; a gap of 30 minutes starts one", False),
        _identifier("request_id", "page of videos dispatched together, within the user", False),
        Column("position", pl.Int16(), "slot on the page, from 0", minimum=0),
        _milliseconds("time_ms", "Unix time at which the page was dispatched", True),
        *(_label(b.column, b.doc, b.required) for b in flags_in_file_order()),
        _time("play"),
        Column("duration_ms", pl.Int64(), "length of the video; null if unknown", "ms", minimum=1),
        _time("profile_stay"),
        _time("stay"),
        _label("is_rand", "shown by uniformly random exposure"),
        Column("tab", pl.Int16(), "scenario code"),
        Column("policy", pl.String(), "ranker that chose the video"),
        Column("arm", pl.String(), "arm of the experiment; null outside of one"),
        Column(
            "propensity",
            pl.Float32(),
            "probability with which that ranker put this video in this slot",
            minimum=0,
            maximum=1,
        ),
        Column("date", pl.Int32(), "yyyymmdd as reported, China time"),
        Column("hourmin", pl.Int16(), "hour * 100 as reported", minimum=0, maximum=2359),
    ),
    required=True,
)

# Published files list what was shown before what was done.
_COMMENT_LABELS = sorted(of_kind("comment"), key=lambda b: b.name != "comment_shown")

COMMENT_EVENTS = TableFormat(
    "comment_events",
    (
        _identifier("user_id", "who"),
        _identifier("video_id", "under which video"),
        _identifier("comment_id", "which comment"),
        _milliseconds("time_ms", "Unix time of the page or of the interaction", True),
        Column("position", pl.Int16(), "rank in the section, from 0", minimum=0),
        *(_label(b.column, b.doc, b.required) for b in _COMMENT_LABELS),
        _milliseconds("dwell_ms", "time on the comment"),
        Column(
            "propensity",
            pl.Float32(),
            "probability of this comment at this rank, given the ranks above",
            minimum=0,
            maximum=1,
        ),
        Column("policy", pl.String(), "ranker that ordered the section"),
        Column("arm", pl.String(), "arm of the experiment; null outside of one"),
    ),
)

_CHOICES = (
    Column("candidates", pl.List(pl.Int64()), "what could have been chosen", required=True),
    Column(
        "propensities",
        pl.List(pl.Float32()),
        "probability of each candidate in this place, given the places above; they sum to 1",
        required=True,
    ),
)

VIDEO_DECISIONS = TableFormat(
    "video_decisions",
    (
        _identifier("user_id", "who"),
        _identifier("request_id", "page, as in impressions"),
        Column("position", pl.Int16(), "slot on the page, from 0", required=True, minimum=0),
        _milliseconds("time_ms", "Unix time of the page", True),
        _identifier("video_id", "what was shown there; one of the candidates"),
        *_CHOICES,
    ),
)

COMMENT_DECISIONS = TableFormat(
    "comment_decisions",
    (
        _identifier("user_id", "who"),
        _identifier("request_id", "page, as in impressions"),
        _identifier("video_id", "under which video"),
        Column("position", pl.Int16(), "rank in the section, from 0", required=True, minimum=0),
        _milliseconds("time_ms", "Unix time of the page", True),
        _identifier("comment_id", "what was shown there; one of the candidates"),
        *_CHOICES,
    ),
)

USERS = TableFormat(
    "users",
    (
        _identifier("user_id", "who"),
        Column("user_active_degree", pl.String(), "activity class"),
        _count("follow_user_num", "people followed"),
        Column("follow_user_num_range", pl.String(), "the same, as a range"),
        _count("fans_user_num", "followers"),
        Column("fans_user_num_range", pl.String(), "the same, as a range"),
        _count("friend_user_num", "friends"),
        Column("friend_user_num_range", pl.String(), "the same, as a range"),
        _count("register_days", "days since registration"),
        Column("register_days_range", pl.String(), "the same, as a range"),
        _label("is_live_streamer", "streams live"),
        _label("is_video_author", "uploads videos"),
    ),
    key=("user_id",),
    required=True,
)

VIDEOS = TableFormat(
    "videos",
    (
        _identifier("video_id", "which"),
        _identifier("author_id", "by whom", False),
        Column("category", pl.String(), "first tag or category"),
        Column("tags", pl.List(pl.String()), "all tags"),
        Column("caption", pl.String(), "title"),
        Column("duration_ms", pl.Int64(), "length; null if unknown", "ms", minimum=1),
        Column("upload_time_ms", pl.Int64(), "Unix time of upload", "ms"),
        Column("video_type", pl.String(), "NORMAL or AD"),
        _count("comment_count", "comments displayed under the video"),
    ),
    key=("video_id",),
    required=True,
)

COMMENTS = TableFormat(
    "comments",
    (
        _identifier("comment_id", "which"),
        _identifier("video_id", "under which video"),
        Column("text", pl.String(), "what it says"),
        _count("like_count", "likes"),
        _count("reply_count", "replies"),
        Column("time_ms", pl.Int64(), "Unix time of writing", "ms"),
    ),
    key=("comment_id",),
)

TABLES: dict[str, TableFormat] = {
    table.name: table
    for table in (
        IMPRESSIONS,
        COMMENT_EVENTS,
        VIDEO_DECISIONS,
        COMMENT_DECISIONS,
        USERS,
        VIDEOS,
        COMMENTS,
    )
}
EVENT_TABLES = ("impressions", "comment_events", "video_decisions", "comment_decisions")
"""Tables whose rows happen at a time, ``time_ms``."""
