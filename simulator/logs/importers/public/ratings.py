"""Describe logs of ratings, for offline evaluation: MovieLens, Amazon, RecBole's atomic files.

A rating is a click; four stars or more are a like. Nothing is known about what was shown and not
rated, or for how long anything was watched.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from simulator.logs.importers.expressions import parse
from simulator.logs.importers.fields import Column, Computed, Constant, Field, FieldKind
from simulator.logs.importers.formats import Format, Role
from simulator.tables import Unit, label

_REMARK = "a rating is a click, four stars a like; nothing is known about what was not rated"
_FILM = ("movieId", "MovieID", "item_id:token")


def _log(
    user: str, item: str, rating: str, time: str, *, kind: FieldKind = "id", unit: Unit = "s"
) -> Sequence[Column]:
    names = (
        Field("user_name", (user,), "text", pl.String(), sentinels=()),
        Field("video_name", (item,), "text", pl.String(), sentinels=()),
    )
    return (
        Field("user_id", (user,), kind, pl.Int64(), required=True),
        Field("video_id", (item,), kind, pl.Int64(), required=True),
        *(names if kind == "name" else ()),
        Field("time_ms", (time,), "time", pl.Int64(), required=True, unit=unit),
        Constant("is_click", 1, pl.Int8()),
        Computed("is_like", parse(f"col({rating!r}) >= 4"), label()),
        Constant("play_time_ms", 0, pl.Int64(), stands_for_unknown=True),
    )


def _films(item: str, title: str, genres: str, kind: FieldKind = "genres") -> Sequence[Column]:
    return (
        Field("video_id", (item,), "id", pl.Int64(), required=True),
        Field("caption", (title,), "text", pl.String(), sentinels=()),
        Field("tags", (genres,), kind, pl.List(pl.String()), sentinels=("(no genres listed)",)),
    )


_ML = ("userId", "movieId", "rating", "timestamp")

MOVIELENS = Format(
    "movielens",
    "MovieLens (100K, 1M, 10M, 20M, 25M, 32M, latest)",
    "GroupLens: research, no redistribution without permission (Harper & Konstan, 2015)",
    (
        Role("impressions", r"ratings\.csv", _log(*_ML), remark=_REMARK, by_columns=True),
        Role("impressions", r"ratings\.dat", _log(*_ML), delimiter="::", names=_ML, remark=_REMARK),
        Role("impressions", r"u\.data", _log(*_ML), delimiter="\t", names=_ML, remark=_REMARK),
        Role("videos", r"movies\.csv", _films("movieId", "title", "genres")),
        Role(
            "videos",
            r"movies\.dat",
            _films("movieId", "title", "genres"),
            delimiter="::",
            names=("movieId", "title", "genres"),
            encoding="latin-1",
        ),
    ),
    recognise=_ML,
    language="en",
    seen="its documentation only",
)

AMAZON = Format(
    "amazon",
    "Amazon reviews (2014, 2023)",
    "for research (He & McAuley 2016; Hou et al. 2024)",
    (
        Role(
            "impressions",
            r"ratings_.*\.csv",
            _log("user", "item", "rating", "timestamp", kind="name"),
            delimiter=",",
            names=("user", "item", "rating", "timestamp"),
            remark=_REMARK,
        ),
        Role(
            "impressions",
            r".*\.csv",
            _log("user_id", "parent_asin", "rating", "timestamp", kind="name", unit="ms"),
            remark=_REMARK,
            by_columns=True,
        ),
    ),
    recognise=("parent_asin", "rating"),
    language="en",
    seen="its documentation only",
)

_TOKENS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")

RECBOLE = Format(
    "recbole",
    "RecBole atomic files",
    "of the data set that was converted",
    (
        Role(
            "impressions",
            r".*\.inter",
            _log(*_TOKENS, kind="name"),
            delimiter="\t",
            remark=_REMARK,
        ),
    ),
    recognise=_TOKENS[:2],
    seen="its documentation only",
)
