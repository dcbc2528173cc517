"""Turns what happens in a feed into rows of the log format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.logs.catalogue import Catalogue
from simulator.logs.schema import TABLES
from simulator.requests import Int32, Int64
from simulator.response.base import Read, Watched

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Page:
    """One turn of the feed: B users, S slots; see `simulator.response.base` for the fields."""

    user: Int32
    session: Int64
    step: Int64
    time_ms: Int64
    slates_videos: Int32
    propensity: NDArray[np.float32] | None
    is_rand: Bool | None
    watched: Watched
    reached: Bool
    play_ms: Int64
    stay_ms: Int64
    policy: str


@dataclass(frozen=True)
class Sections:
    """The comment sections opened in one turn; ``live`` marks those that were reached."""

    user: Int32
    time_ms: Int64
    video: Int32
    order: Int32
    read: Read
    live: Bool
    propensity: NDArray[np.float32] | None


class Recorder:
    """Collects rows of ``impressions`` and ``comment_events`` until they are drained.

    Args:
        catalogue: Gives identifiers and durations.
        user_ids: int64[N], identifiers by dense user index; None where index and id are the same.
    """

    def __init__(self, catalogue: Catalogue, user_ids: Int64 | None = None) -> None:
        self._catalogue = catalogue
        self._user_ids = user_ids
        self._impressions: list[dict[str, NDArray[Any]]] = []
        self._policies: list[tuple[str, int]] = []
        self._events: list[dict[str, NDArray[Any]]] = []

    def add_page(self, page: Page) -> None:
        """Add the impressions that were reached."""
        at, slot = np.nonzero(page.reached)
        videos = page.slates_videos[at, slot]
        w = page.watched
        duration = self._catalogue.duration_ms[videos]
        propensity = page.propensity
        rand = page.is_rand
        columns: dict[str, NDArray[Any]] = {
            "user_id": self._ids(page.user[at]),
            "video_id": self._catalogue.video_ids[videos],
            "session_id": page.session[at],
            "request_id": page.session[at] * 100_000 + page.step[at],
            "position": slot.astype(np.int16),
            "time_ms": page.time_ms[at],
            "is_click": w.click[at, slot].astype(np.int8),
            "is_like": w.like[at, slot].astype(np.int8),
            "is_follow": w.follow[at, slot].astype(np.int8),
            "is_comment": w.comment[at, slot].astype(np.int8),
            "is_forward": w.forward[at, slot].astype(np.int8),
            "is_hate": w.hate[at, slot].astype(np.int8),
            "long_view": w.long_view[at, slot].astype(np.int8),
            "play_time_ms": page.play_ms[at, slot],
            "duration_ms": duration,
            "is_profile_enter": (w.profile_stay_ms[at, slot] > 0).astype(np.int8),
            "profile_stay_time": w.profile_stay_ms[at, slot],
            "comment_stay_time": page.stay_ms[at, slot],
            "is_rand": (
                np.zeros(len(at), dtype=np.int8) if rand is None else rand[at, slot].astype(np.int8)
            ),
            "propensity": (
                np.full(len(at), np.nan, dtype=np.float32)
                if propensity is None
                else propensity[at, slot].astype(np.float32)
            ),
        }
        if w.tab is not None:
            columns["tab"] = w.tab[at].astype(np.int16)
        self._impressions.append(columns)
        self._policies.append((page.policy, len(at)))

    def add_sections(self, sections: Sections) -> None:
        """Add the comments that were scrolled into view."""
        read = sections.read
        seen = np.flatnonzero(sections.live[read.section])
        at, position = read.section[seen], read.rank[seen]
        comments = sections.order[at, position]
        propensity = sections.propensity
        self._events.append(
            {
                "user_id": self._ids(sections.user[at]),
                "video_id": self._catalogue.video_ids[sections.video[at]],
                "comment_id": self._catalogue.comment_ids[comments],
                "time_ms": sections.time_ms[at],
                "position": position.astype(np.int16),
                "is_shown": np.ones(len(at), dtype=np.int8),
                "is_like": read.like[seen].astype(np.int8),
                "is_reply": read.reply[seen].astype(np.int8),
                "dwell_ms": read.dwell_ms[seen],
                "propensity": (
                    np.full(len(at), np.nan, dtype=np.float32)
                    if propensity is None
                    else propensity[at, position].astype(np.float32)
                ),
            }
        )

    def drain(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield (table, rows) for everything collected, sorted as the format asks; then forget."""
        if self._impressions:
            data = {
                k: np.concatenate([d[k] for d in self._impressions]) for k in self._impressions[0]
            }
            names = [name for name, _ in self._policies]
            counts = [count for _, count in self._policies]
            known = sorted(set(names))
            codes = np.repeat([known.index(name) for name in names], counts)
            frame = pl.DataFrame(data).with_columns(
                policy=pl.Series(known, dtype=pl.String).gather(codes.astype(np.uint32)),
                duration_ms=pl.when(pl.col("duration_ms") > 0).then(pl.col("duration_ms")),
                propensity=pl.col("propensity").fill_nan(None),
            )
            dtypes = TABLES["impressions"].dtypes()
            yield (
                "impressions",
                frame.sort("user_id", "time_ms", "position").select(
                    pl.col(name).cast(dtype)
                    for name, dtype in dtypes.items()
                    if name in frame.columns
                ),
            )
        if self._events:
            data = {k: np.concatenate([d[k] for d in self._events]) for k in self._events[0]}
            frame = pl.DataFrame(data).with_columns(propensity=pl.col("propensity").fill_nan(None))
            dtypes = TABLES["comment_events"].dtypes()
            yield (
                "comment_events",
                frame.sort("user_id", "time_ms", "video_id", "position").select(
                    pl.col(name).cast(dtype)
                    for name, dtype in dtypes.items()
                    if name in frame.columns
                ),
            )
        self._impressions, self._policies, self._events = [], [], []

    def _ids(self, users: Int32) -> Int64:
        if self._user_ids is None:
            return users.astype(np.int64)
        return self._user_ids[users]
