"""Turn a log's impressions into arrays, in dense indices and time order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.calendar import china_day, weekday
from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.randomness import purpose_key, uniform
from simulator.requests import Int32, Int64
from simulator.response.learned.heads import COLUMNS, END, OPEN, OUTCOMES, PROFILE
from simulator.response.learned.sessions import SESSION_GAP_MS, hour_of_day

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int8 = NDArray[np.int8]

MAX_ROWS = 500_000
"""Impressions that are learned from at a time; see `simulator.response.learned.parts.pools`."""
_LONG_VIEW_MS = 18_000
_CLICK_MS = 7_000
_DEEP = 50
DURATION_FEATURES = 5
CONTEXT_FEATURES = 5
USER_NUMBERS = ("follow_user_num", "fans_user_num", "register_days")
USER_LEVEL = "user_active_degree"


@dataclass(frozen=True)
class Impressions:
    """The impressions of a log, sorted by user and time.

    Attributes:
        user: int32[N], dense index into ``dataset.user_ids()``.
        video: int32[N], dense catalogue index.
        time_ms: int64[N].
        page_start: int64[N], row where the impression's page (shared request) starts.
        session: int64[N], non-decreasing session number.
        place: int64[N], impressions before this one in its session.
        outcomes: int8[N, len(OUTCOMES)], 0, 1 or -1 for unknown.
        play_ms: int64[N], play time without comment time; -1 unknown.
        stay_ms: int64[N], comment stay; 0 not opened, -1 unknown.
        profile_stay_ms: int64[N]; -1 unknown.
        sessions_given: Whether the log has session ids (otherwise a 30-minute gap ends a session).
        rows_in_log: Impressions in the log, before people were left out to fit in memory.
    """

    user: Int32
    video: Int32
    time_ms: Int64
    page_start: Int64
    session: Int64
    place: Int64
    outcomes: Int8
    play_ms: Int64
    stay_ms: Int64
    profile_stay_ms: Int64
    sessions_given: bool
    rows_in_log: int

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def read(cls, dataset: Dataset, *, seed: int) -> Impressions:
        """Read the columns that the model needs.

        Above `MAX_ROWS` impressions a random share of the people is read: the first of
        `simulator.response.learned.parts.pools`.

        Raises:
            DataError: there is no impression to learn from.
        """
        ids = dataset.user_ids()
        scan = dataset.scan("impressions").select(wanted_columns(dataset))
        total = int(dataset.info.rows.get("impressions", 0))
        if pools_needed(total) > 1:
            mine = ids[pool_of(ids, pools_needed(total), seed) == 0]
            scan = scan.filter(pl.col("user_id").is_in(mine.tolist()))
        return from_rows(dataset, scan.collect(), total)


def pools_needed(rows: int) -> int:
    """Pools of about `MAX_ROWS` rows that so many rows are dealt into."""
    return max(1, -(-rows // MAX_ROWS))


def pool_of(user_ids: Int64, pools: int, seed: int) -> Int64:
    """int64[N]: the pool of each person."""
    draw = uniform(purpose_key(seed, "response.learned.people"), user_ids)
    return np.minimum((draw * pools).astype(np.int64), pools - 1)


def wanted_columns(dataset: Dataset) -> list[str]:
    """Columns of the impressions that the model looks at, as far as the log has them."""
    optional = (
        *COLUMNS.values(), "comment_stay_time", "profile_stay_time", "session_id", "request_id",
        "position",
    )  # fmt: skip
    present = [name for name in optional if dataset.has_column("impressions", name)]
    return ["user_id", "video_id", "time_ms", "play_time_ms", *present]


def from_rows(dataset: Dataset, rows: pl.DataFrame, total: int) -> Impressions:
    """Impressions of some people.

    Args:
        dataset: The log.
        rows: All rows of these people, in any order, with `wanted_columns`.
        total: Impressions in the log.

    Raises:
        DataError: there is no impression to learn from, or one refers to nothing.
    """
    if rows.height == 0:
        raise DataError(
            f"the dataset at {dataset.path} has no impressions to learn from.",
            "Check it: abtest data describe DIR. Without data: abtest demo",
        )
    keys = ["user_id", "time_ms"] + [c for c in ("request_id", "position") if c in rows.columns]
    frame = rows.sort(keys, maintain_order=True)
    return _from_frame(frame, dataset.user_ids(), dataset.catalogue().video_index, total)


def _from_frame(
    frame: pl.DataFrame, ids: Int64, video_index: Callable[[Int64], Int32], total: int
) -> Impressions:
    def column(name: str, missing: int = -1) -> Int64:
        if name not in frame.columns:
            return np.full(frame.height, missing, dtype=np.int64)
        return frame[name].cast(pl.Int64).fill_null(missing).to_numpy()

    user_id = frame["user_id"].to_numpy()
    user = np.clip(np.searchsorted(ids, user_id), 0, max(len(ids) - 1, 0)).astype(np.int32)
    strangers = int((ids[user] != user_id).sum()) if len(ids) else frame.height
    if strangers:
        raise DataError(
            f"{strangers} impressions are of people that the users table does not know.",
            "Check the dataset: abtest data check DIR",
        )
    video = np.asarray(video_index(frame["video_id"].to_numpy()), dtype=np.int32)
    time_ms = column("time_ms")
    stay = np.maximum(column("comment_stay_time"), -1)
    logged_play = column("play_time_ms")
    play = np.where(logged_play < 0, -1, np.maximum(logged_play - np.maximum(stay, 0), 0))
    profile_stay = np.maximum(column("profile_stay_time"), -1)

    new_user = np.append(True, user[1:] != user[:-1])
    numbered = "request_id" in frame.columns and frame["request_id"].null_count() == 0
    request = column("request_id") if numbered else time_ms
    new_page = new_user | np.append(True, request[1:] != request[:-1])
    given = "session_id" in frame.columns and frame["session_id"].null_count() == 0
    busy_until = time_ms + np.maximum(logged_play, 0)
    if given:
        session_id = column("session_id")
        cut = np.append(True, session_id[1:] != session_id[:-1])
    else:
        cut = np.append(True, time_ms[1:] - busy_until[:-1] > SESSION_GAP_MS)
    new_session = new_user | cut
    session = np.cumsum(new_session) - 1

    outcomes = np.full((frame.height, len(OUTCOMES)), -1, dtype=np.int8)
    for index, name in enumerate(OUTCOMES):
        if name in COLUMNS:
            outcomes[:, index] = column(COLUMNS[name])
    outcomes[:, OPEN] = np.where(stay < 0, -1, stay > 0)
    outcomes[:, PROFILE] = np.where(profile_stay < 0, -1, profile_stay > 0)
    last = np.append(new_session[1:], True)
    # A person's last impression ends a session because the log ends there: that teaches nothing,
    # and would make the held-out impressions, which are the last ones, look special.
    outcomes[:, END] = np.where(np.append(new_user[1:], True), -1, last)

    known = video >= 0
    if not known.all():
        raise DataError(
            f"{int((~known).sum())} impressions show videos that the catalogue does not know.",
            "Check the dataset: abtest data check DIR",
        )
    return Impressions(
        user=user,
        video=video,
        time_ms=time_ms,
        page_start=_start_of(new_page),
        session=session.astype(np.int64),
        place=np.arange(len(user)) - _start_of(new_session),
        outcomes=outcomes,
        play_ms=play,
        stay_ms=stay,
        profile_stay_ms=profile_stay,
        sessions_given=given,
        rows_in_log=max(total, frame.height),
    )


def _start_of(new: Bool) -> Int64:
    """For each row, the row at which its run starts."""
    return np.asarray(np.maximum.accumulate(np.where(new, np.arange(len(new)), 0)), dtype=np.int64)


def video_durations(dataset: Dataset) -> Int64:
    """int64[V] ms per video: the catalogue's, else the log's largest; 0 where unknown."""
    catalogue = dataset.catalogue()
    duration = np.asarray(catalogue.duration_ms, dtype=np.int64).copy()
    if dataset.has_column("impressions", "duration_ms"):
        seen = (
            dataset.scan("impressions")
            .group_by("video_id")
            .agg(pl.col("duration_ms").max().fill_null(0))
            .collect(engine="streaming")
        )
        index = catalogue.video_index(seen["video_id"].to_numpy())
        from_log = np.zeros(len(duration), dtype=np.int64)
        from_log[index[index >= 0]] = seen["duration_ms"].to_numpy()[index >= 0]
        duration = np.where(duration > 0, duration, from_log)
    return np.maximum(duration, 0)


def duration_features(duration_ms: Int64) -> Float32:
    """float32[V, 5]: unknown flag, centred log duration, hinges at 7 s, 18 s and 60 s."""
    known = duration_ms > 0
    log = np.log(np.where(known, np.clip(duration_ms, 1_000, 1_800_000), 20_000) / 1000.0)
    columns = [
        ~known,
        (log - np.log(20.0)) / 1.5,
        np.maximum(np.log(_CLICK_MS / 1000) - log, 0.0),
        np.maximum(log - np.log(_LONG_VIEW_MS / 1000), 0.0),
        np.maximum(log - np.log(60.0), 0.0),
    ]
    return np.stack(columns, axis=-1).astype(np.float32)


def context_features(time_ms: Int64) -> Float64:
    """float64[B, 5]: two harmonics of the hour, weekend flag."""
    angle = hour_of_day(time_ms) * (2.0 * np.pi / 24.0)
    weekend = weekday(china_day(time_ms)) >= 5
    waves = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    return np.stack([*waves, weekend], axis=-1)


def place_feature(place: Int64) -> Float64:
    """How deep into the session, on a compressed scale that ends where logs grow thin."""
    return np.asarray(np.log1p(np.minimum(place, _DEEP)) / 3.0)


@dataclass(frozen=True)
class UserFeatures:
    """What the users table says.

    Attributes:
        level: int64[N], activity level code, 0 unknown.
        level_names: Names of codes 1, 2, ...
        numbers: float32[N, 3], standardised log of `USER_NUMBERS`; 0 where unknown.
    """

    level: Int64
    level_names: list[str]
    numbers: Float32

    @classmethod
    def read(cls, dataset: Dataset) -> UserFeatures:
        """Read the users table; all unknown if there is none."""
        ids = dataset.user_ids()
        level = np.zeros(len(ids), dtype=np.int64)
        numbers = np.zeros((len(ids), len(USER_NUMBERS)), dtype=np.float32)
        names: list[str] = []
        if not dataset.has("users"):
            return cls(level, names, numbers)
        columns = [c for c in (USER_LEVEL, *USER_NUMBERS) if dataset.has_column("users", c)]
        table = dataset.scan("users").select("user_id", *columns).unique("user_id").collect()
        table = table.filter(pl.col("user_id").is_in(ids.tolist()))
        row = np.searchsorted(ids, table["user_id"].to_numpy())
        if USER_LEVEL in columns:
            names = sorted(table[USER_LEVEL].drop_nulls().unique().to_list())
            codes = {name: i + 1 for i, name in enumerate(names)}
            level[row] = [codes.get(value, 0) for value in table[USER_LEVEL].to_list()]
        for index, name in enumerate(USER_NUMBERS):
            if name in columns:
                value = np.log1p(np.maximum(table[name].cast(pl.Float64).to_numpy(), 0.0))
                known = np.isfinite(value)
                if known.sum() > 1 and value[known].std() > 0:
                    scaled = (value - value[known].mean()) / value[known].std()
                    numbers[row[known], index] = scaled[known]
        return cls(level, names, numbers)
