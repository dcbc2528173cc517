"""How one text column of a file becomes one typed column of the dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from simulator.behaviours import flags_in_file_order
from simulator.calendar import unix_ms

Kind = Literal["id", "number", "label", "time", "duration", "play", "text", "tags", "day"]

# Play times down to -8 ms exist in KuaiRand; anything below a second under 0 is damage.
_SLIGHTLY_NEGATIVE = -1_000


@dataclass(frozen=True)
class Field:
    """One column.

    Attributes:
        target: Name in the dataset.
        sources: Accepted names in files, first match wins.
        kind: How its text is read.
        dtype: Type in the dataset.
        required: Files without it are refused, rows without it rejected.
        scale: Multiplies numbers (1000 for seconds to milliseconds).
    """

    target: str
    sources: tuple[str, ...]
    kind: Kind
    dtype: pl.DataType
    required: bool = False
    scale: int = 1

    def find(self, header: list[str]) -> str | None:
        """The file's name of this column, if it has one."""
        return next((name for name in self.sources if name in header), None)

    def value(self, column: str) -> pl.Expr:
        """The typed value; null where there is none or where it cannot be read."""
        text = _cell(column)
        if self.kind == "text":
            return text
        if self.kind == "tags":
            return text.str.split(",").list.eval(pl.element().str.strip_chars())
        if self.kind == "day":
            day = text.str.to_datetime("%Y-%m-%d", strict=False, time_unit="ms")
            return unix_ms(day.cast(pl.Int64))
        number = _number(text, self.scale)
        if self.kind == "play":
            slightly = (number < 0) & (number >= _SLIGHTLY_NEGATIVE)
            number = pl.when(slightly).then(0).otherwise(number)
        if self.kind == "duration":
            number = pl.when(number == 0).then(None).otherwise(number)
        return number.cast(self.dtype, strict=False)

    def bad(self, column: str) -> pl.Expr:
        """Whether a cell cannot be accepted."""
        text = _cell(column)
        if self.kind in ("text", "tags"):
            return text.is_null() if self.required else pl.lit(False)
        if self.kind == "day":
            return text.is_not_null() & self.value(column).is_null()
        number = _number(text, self.scale)
        wrong = text.is_not_null() & number.is_null()
        if self.kind == "label":
            wrong |= number.is_not_null() & ~number.is_in([0, 1])
        elif self.kind == "play":
            wrong |= (number < _SLIGHTLY_NEGATIVE).fill_null(False)
        else:
            wrong |= (number < 0).fill_null(False)
        return wrong | text.is_null() if self.required else wrong

    @property
    def expected(self) -> str:
        """What a cell should hold, for messages."""
        return {
            "label": "0 or 1",
            "day": "a date as 2022-04-08",
            "text": "a text",
            "tags": "a text",
        }.get(self.kind, "a number of 0 or more")

    def repairs(self, column: str) -> list[tuple[str, pl.Expr]]:
        """(reason, whether a cell is changed) of this column."""
        raw = pl.col(column).str.strip_chars()
        found = [
            (f"{column}: sentinel to unknown", raw.is_in(SENTINELS) & (raw != "")),
        ]
        number = _number(_cell(column), self.scale)
        if self.kind == "play":
            found.append(
                (
                    f"{column}: slightly negative to 0",
                    (number < 0) & (number >= _SLIGHTLY_NEGATIVE),
                )
            )
        if self.kind == "duration":
            found.append((f"{column}: 0 to unknown", number == 0))
        return found


SENTINELS = ["-124", "-124.0", "UNKNOWN", "空", "empty", "1970-1-1", "1970-01-01", "nan", "NaN"]


def _cell(column: str) -> pl.Expr:
    """The stripped text; null for empty cells and sentinels."""
    text = pl.col(column).str.strip_chars()
    return pl.when((text == "") | text.is_in(SENTINELS)).then(None).otherwise(text)


def _number(text: pl.Expr, scale: int) -> pl.Expr:
    """int64: whole numbers exactly; decimals (``87433.0``, float milliseconds) rounded."""
    if scale != 1:
        return (text.cast(pl.Float64, strict=False) * scale).round(0).cast(pl.Int64, strict=False)
    whole = text.cast(pl.Int64, strict=False)
    decimal = text.cast(pl.Float64, strict=False).round(0).cast(pl.Int64, strict=False)
    return pl.coalesce(whole, decimal)


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
    Field("hourmin", ("hourmin", "p_hourmin"), "number", pl.Int16()),
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
