"""Turn what happens in a feed into rows of the log format.

Impressions and comment events say what was shown and what people did. Decisions say what could
have been shown instead, and how likely each candidate was: a row per slot of a page, or per comment
of a section, that a person got to. They are kept where the ranker gives probabilities
(`simulator.requests.Slates.probabilities`, `simulator.requests.CommentOrders.probabilities`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.behaviours import BY_NAME
from simulator.logs.catalogue import Catalogue
from simulator.logs.schema import TABLES
from simulator.requests import Int32, Int64
from simulator.response.base import Read, Watched

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]

ORDER = {
    "impressions": ("user_id", "time_ms", "position"),
    "comment_events": ("user_id", "time_ms", "video_id", "position"),
    "video_decisions": ("user_id", "time_ms", "position"),
    "comment_decisions": ("user_id", "time_ms", "video_id", "position"),
}
"""Tables in the order in which they are drained, and how their rows are sorted."""


@dataclass(frozen=True)
class RecordedPage:
    """One turn of the feed: B users, S slots; see `simulator.response.base` for the fields.

    ``candidates`` int32[B, C] and ``probabilities`` float32[B, S, C] are None where no decisions
    are kept.
    """

    user: Int32
    session: Int64
    step: Int64
    time_ms: Int64
    slates_videos: Int32
    propensity: Float32 | None
    is_rand: Bool | None
    watched: Watched
    reached: Bool
    play_ms: Int64
    stay_ms: Int64
    policy: str
    candidates: Int32 | None = None
    probabilities: Float32 | None = None


@dataclass(frozen=True)
class Sections:
    """The R comment sections opened in one turn; ``live`` marks those that were reached.

    ``session`` and ``step`` int64[R] say on which page; with ``candidates`` int32[R, M] and
    ``probabilities`` float32[R, K, M] they are needed for decisions only.
    """

    user: Int32
    time_ms: Int64
    video: Int32
    order: Int32
    read: Read
    live: Bool
    propensity: Float32 | None
    session: Int64 | None = None
    step: Int64 | None = None
    candidates: Int32 | None = None
    probabilities: Float32 | None = None


class Recorder:
    """Collects rows of the event tables until they are drained.

    Args:
        catalogue: Gives identifiers and durations.
        user_ids: int64[N], identifiers by dense user index; None where index and id are the same.
    """

    def __init__(self, catalogue: Catalogue, user_ids: Int64 | None = None) -> None:
        self._catalogue = catalogue
        self._user_ids = user_ids
        self._forget()

    def _forget(self) -> None:
        self._rows: dict[str, list[dict[str, NDArray[Any]]]] = {table: [] for table in ORDER}
        self._choices: dict[str, list[_Choices]] = {table: [] for table in ORDER}
        self._policies: list[tuple[str, int]] = []
        self.bytes = 0
        """Memory held by what has not been drained, roughly."""

    def add_page(self, page: RecordedPage) -> None:
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
            "request_id": _request_id(page.session, page.step)[at],
            "position": slot.astype(np.int16),
            "time_ms": page.time_ms[at],
            **{
                BY_NAME[name].column: flag[at, slot].astype(np.int8)
                for name, flag in w.flags.items()
            },
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
        self._add("impressions", columns)
        self._policies.append((page.policy, len(at)))
        if page.candidates is not None and page.probabilities is not None:
            same = ("user_id", "request_id", "position", "time_ms", "video_id")
            chosen = _Choices.of(
                page.candidates[at], page.probabilities[at, slot], self._catalogue.video_ids
            )
            self._add("video_decisions", {name: columns[name] for name in same}, chosen)

    def add_sections(self, sections: Sections) -> None:
        """Add the comments that were scrolled into view."""
        read = sections.read
        seen = np.flatnonzero(sections.live[read.section])
        at, position = read.section[seen], read.rank[seen]
        comments = sections.order[at, position]
        propensity = sections.propensity
        columns: dict[str, NDArray[Any]] = {
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
        self._add("comment_events", columns)
        candidates, probabilities = sections.candidates, sections.probabilities
        if candidates is None or probabilities is None:
            return
        if sections.session is None or sections.step is None:
            raise ValueError("decisions need the session and the step of their page")
        kept = np.flatnonzero(position < probabilities.shape[1])
        same = ("user_id", "video_id", "position", "time_ms", "comment_id")
        rows = {name: columns[name][kept] for name in same}
        rows["request_id"] = _request_id(sections.session, sections.step)[at[kept]]
        chosen = _Choices.of(
            candidates[at[kept]],
            probabilities[at[kept], position[kept]],
            self._catalogue.comment_ids,
        )
        self._add("comment_decisions", rows, chosen)

    def drain(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield (table, rows) for everything collected, sorted as the format asks; then forget."""
        for table, parts in self._rows.items():
            if not parts:
                continue
            frame = pl.DataFrame({k: np.concatenate([p[k] for p in parts]) for k in parts[0]})
            if table == "impressions":
                frame = frame.with_columns(
                    policy=self._policy_column(),
                    duration_ms=pl.when(pl.col("duration_ms") > 0).then(pl.col("duration_ms")),
                )
            if "propensity" in frame.columns:
                frame = frame.with_columns(pl.col("propensity").fill_nan(None))
            if self._choices[table]:
                frame = frame.with_columns(_Choices.columns(self._choices[table]))
            yield (
                table,
                frame.sort(ORDER[table]).select(
                    pl.col(name).cast(dtype)
                    for name, dtype in TABLES[table].dtypes().items()
                    if name in frame.columns
                ),
            )
        self._forget()

    def _add(
        self, table: str, columns: dict[str, NDArray[Any]], chosen: _Choices | None = None
    ) -> None:
        self._rows[table].append(columns)
        self.bytes += sum(column.nbytes for column in columns.values())
        if chosen is not None:
            self._choices[table].append(chosen)
            self.bytes += chosen.candidates.nbytes + chosen.propensities.nbytes

    def _policy_column(self) -> pl.Series:
        names = [name for name, _ in self._policies]
        counts = [count for _, count in self._policies]
        known = sorted(set(names))
        codes = np.repeat([known.index(name) for name in names], counts)
        return pl.Series(known, dtype=pl.String).gather(codes.astype(np.uint32))

    def _ids(self, users: Int32) -> Int64:
        if self._user_ids is None:
            return users.astype(np.int64)
        return self._user_ids[users]


@dataclass(frozen=True)
class _Choices:
    """Candidates and probabilities of N decisions, one after the other without padding."""

    counts: Int64
    candidates: Int64
    propensities: Float32

    @classmethod
    def of(cls, candidates: Int32, probabilities: Float32, ids: Int64) -> _Choices:
        """From int32[N, C], -1 padded, and float32[N, C]; ``ids`` by dense index."""
        real = candidates >= 0
        return cls(
            real.sum(axis=1),
            np.asarray(ids[candidates[real]], dtype=np.int64),
            probabilities[real].astype(np.float32),
        )

    @staticmethod
    def columns(parts: list[_Choices]) -> list[pl.Series]:
        """The two list columns."""
        counts = np.concatenate([p.counts for p in parts])
        flat = pl.DataFrame(
            {
                "row": np.repeat(np.arange(len(counts)), counts),
                "candidates": np.concatenate([p.candidates for p in parts]),
                "propensities": np.concatenate([p.propensities for p in parts]),
            }
        )
        lists = flat.group_by("row", maintain_order=True).agg("candidates", "propensities")
        return [lists["candidates"], lists["propensities"]]


def _request_id(session: Int64, step: Int64) -> Int64:
    return session * 100_000 + step
