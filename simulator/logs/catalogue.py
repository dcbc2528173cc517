"""Hold videos and comments as arrays: what a ranker may know of the inventory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

UNKNOWN_TIME = int(np.iinfo(np.int64).min)

VIDEO_COLUMNS = ("video_id", "author_id", "category", "duration_ms", "upload_time_ms")
COMMENT_COLUMNS = ("comment_id", "video_id", "like_count", "reply_count", "time_ms")
"""What a catalogue is made of: texts, which take the most memory, are left where they are."""


@dataclass(frozen=True)
class Catalogue:
    """All videos and comments of a dataset.

    A video's dense index is its position in ``video_ids`` (ascending); comments are grouped by
    video, most liked first, then by identifier.

    Attributes:
        video_ids: int64[V].
        author: int32[V], dense author index, -1 unknown.
        category: int16[V], index into ``category_names``, -1 unknown.
        category_names: names of the categories.
        duration_ms: int64[V], 0 unknown.
        upload_ms: int64[V], Unix ms; `UNKNOWN_TIME` means always available.
        comment_offsets: int64[V + 1]; comments of video v are ``offsets[v] : offsets[v + 1]``.
        comment_ids: int64[M].
        comment_likes, comment_replies: int32[M].
        comment_time_ms: int64[M], `UNKNOWN_TIME` where unknown.
    """

    video_ids: Int64
    author: Int32
    category: Int16
    duration_ms: Int64
    upload_ms: Int64
    comment_offsets: Int64
    comment_ids: Int64
    comment_likes: Int32
    comment_replies: Int32
    comment_time_ms: Int64
    category_names: list[str] = field(default_factory=list)

    @classmethod
    def build(cls, video_ids: Any, **arrays: Any) -> Catalogue:
        """From arrays already in dense order; whatever is left out is unknown or absent."""
        ids = np.asarray(video_ids, dtype=np.int64)
        v = len(ids)
        offsets = np.asarray(arrays.get("comment_offsets", np.zeros(v + 1)), dtype=np.int64)
        m = int(offsets[-1])

        def take(name: str, size: int, dtype: Any, default: int) -> Any:
            given = arrays.get(name)
            if given is None:
                return np.full(size, default, dtype=dtype)
            array = np.asarray(given).astype(dtype)
            if array.shape != (size,):
                raise ValueError(f"{name} has shape {array.shape}, expected ({size},)")
            return array

        return cls(
            video_ids=ids,
            author=take("author", v, np.int32, -1),
            category=take("category", v, np.int16, -1),
            duration_ms=take("duration_ms", v, np.int64, 0),
            upload_ms=take("upload_ms", v, np.int64, UNKNOWN_TIME),
            comment_offsets=offsets,
            comment_ids=(
                np.arange(m, dtype=np.int64)
                if arrays.get("comment_ids") is None
                else take("comment_ids", m, np.int64, 0)
            ),
            comment_likes=take("comment_likes", m, np.int32, 0),
            comment_replies=take("comment_replies", m, np.int32, 0),
            comment_time_ms=take("comment_time_ms", m, np.int64, UNKNOWN_TIME),
            category_names=list(arrays.get("category_names", [])),
        )

    @classmethod
    def from_frames(cls, videos: pl.DataFrame, comments: pl.DataFrame) -> Catalogue:
        """From the ``videos`` and ``comments`` tables; duplicates keep their first row."""
        videos = videos.unique("video_id", keep="first", maintain_order=True).sort("video_id")
        ids = videos["video_id"].to_numpy().astype(np.int64)
        names, category = _dense_text(videos, "category")
        offsets = np.zeros(len(ids) + 1, dtype=np.int64)
        arrays: dict[str, Any] = {}
        if comments.height:
            comments = _with_counts(comments).unique(
                "comment_id", keep="first", maintain_order=True
            )
            index = lookup(ids, comments["video_id"].to_numpy().astype(np.int64))
            comments = (
                comments.with_columns(pl.Series("_video", index))
                .filter(pl.col("_video") >= 0)
                .sort(["_video", "like_count", "comment_id"], descending=[False, True, False])
            )
            counts = np.bincount(comments["_video"].to_numpy(), minlength=len(ids))
            offsets[1:] = np.cumsum(counts)
            arrays = {
                "comment_ids": comments["comment_id"].to_numpy(),
                "comment_likes": comments["like_count"].to_numpy(),
                "comment_replies": comments["reply_count"].to_numpy(),
                "comment_time_ms": comments["time_ms"].to_numpy(),
            }
        return cls.build(
            ids,
            author=_dense_ids(videos, "author_id"),
            category=category,
            category_names=names,
            duration_ms=_numbers(videos, "duration_ms", 0),
            upload_ms=_numbers(videos, "upload_time_ms", UNKNOWN_TIME),
            comment_offsets=offsets,
            **arrays,
        )

    @property
    def n_videos(self) -> int:
        """Number of videos."""
        return len(self.video_ids)

    @property
    def n_comments(self) -> int:
        """Number of comments."""
        return len(self.comment_ids)

    @property
    def n_authors(self) -> int:
        """Number of distinct authors."""
        return int(self.author.max(initial=-1)) + 1

    @cached_property
    def comment_video(self) -> Int32:
        """int32[M]: the video of each comment."""
        counts = np.diff(self.comment_offsets)
        return np.repeat(np.arange(self.n_videos, dtype=np.int32), counts)

    def video_index(self, ids: Int64) -> Int32:
        """int32[n]: dense indices of video identifiers, -1 where unknown."""
        return lookup(self.video_ids, np.asarray(ids, dtype=np.int64))

    def comment_index(self, ids: Int64) -> Int32:
        """int32[n]: dense indices of comment identifiers, -1 where unknown."""
        ids = np.asarray(ids, dtype=np.int64)
        position = lookup(self.comment_ids[self._comment_order], ids)
        found = position >= 0
        result = np.full(len(ids), -1, dtype=np.int32)
        result[found] = self._comment_order[position[found]]
        return result

    def comments_of(self, videos: Int32, limit: int) -> Int32:
        """int32[B, limit]: the most liked comments of each video, padded with -1."""
        start = self.comment_offsets[videos]
        count = self.comment_offsets[videos + 1] - start
        column = np.arange(limit, dtype=np.int32)
        listed: Int32 = start.astype(np.int32)[:, None] + column
        # All bits set is -1.
        listed |= -(column >= count[:, None]).astype(np.int32)
        return listed

    @cached_property
    def _comment_order(self) -> Int64:
        return np.argsort(self.comment_ids, kind="stable")


def lookup(ascending: Int64, wanted: Int64) -> Int32:
    """int32[n]: positions of identifiers among ascending ones, -1 where unknown."""
    if len(ascending) == 0:
        return np.full(len(wanted), -1, dtype=np.int32)
    position = np.searchsorted(ascending, wanted)
    position = np.minimum(position, len(ascending) - 1)
    return np.where(ascending[position] == wanted, position, -1).astype(np.int32)


def _numbers(frame: pl.DataFrame, column: str, default: int) -> Int64 | None:
    if column not in frame.columns:
        return None
    return frame[column].cast(pl.Int64).fill_null(default).to_numpy()


def _dense_ids(frame: pl.DataFrame, column: str) -> Int32 | None:
    if column not in frame.columns:
        return None
    known = frame[column].drop_nulls().unique().sort().to_numpy().astype(np.int64)
    values = frame[column].fill_null(-1).to_numpy().astype(np.int64)
    return lookup(known, values)


def _dense_text(frame: pl.DataFrame, column: str) -> tuple[list[str], Int16 | None]:
    if column not in frame.columns:
        return [], None
    names = frame[column].drop_nulls().unique().sort().to_list()
    codes = frame[column].cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1)
    return names, codes.to_numpy().astype(np.int16)


def _with_counts(comments: pl.DataFrame) -> pl.DataFrame:
    defaults = {"like_count": 0, "reply_count": 0, "time_ms": UNKNOWN_TIME}
    return comments.with_columns(
        (pl.col(name).fill_null(value) if name in comments.columns else pl.lit(value, pl.Int64))
        .cast(pl.Int64)
        .alias(name)
        for name, value in defaults.items()
    )
