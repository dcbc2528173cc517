"""Measure when people come: sessions, requests, gaps, hours and weekdays."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.calendar import DAY_MS, HOUR_MS, china_ms, weekday
from simulator.logs.measures.tables import LogTables, Measures

_SESSION_GAP_MS = 30 * 60_000
_GAPS = (
    ("1-10s", 1_000, 10_000), ("10-60s", 10_000, 60_000), ("1-5min", 60_000, 300_000),
    ("5-30min", 300_000, 1_800_000), ("30-120min", 1_800_000, 7_200_000),
    (">=120min", 7_200_000, 1 << 62),
)  # fmt: skip
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def times(log: LogTables) -> Measures:
    """Sessions and gaps of standard rows; hours and gaps of random ones."""
    user, time = _stamps(log, ~pl.col("random"))
    if len(user) == 0:
        return {}
    same = user[1:] == user[:-1]
    gap = (time[1:] - time[:-1])[same]
    n_users = int((~same).sum()) + 1
    new_session = np.concatenate([[True], ~same | (time[1:] - time[:-1] > _SESSION_GAP_MS)])
    sessions = int(new_session.sum())
    local = china_ms(time)
    days = int(local.max() // DAY_MS - local.min() // DAY_MS) + 1
    people = log.rows("users") or n_users
    found: Measures = {
        "session_length": len(time) / sessions,
        "sessions_per_day": sessions / people / days,
        "impressions_per_day": len(time) / people / days,
        "burst_size": len(time) / (n_users + int((gap >= 1_000).sum())),
    }
    per_user = np.bincount(np.cumsum(np.concatenate([[0], ~same])), weights=new_session)
    for level in (50, 90):
        found[f"sessions_of_users.p{level}"] = float(
            np.percentile(per_user, level) / per_user.mean()
        )
    found.update(_gaps("gap", gap[gap >= 1_000]))
    if len(gap):
        found["gap.<1s"] = float((gap < 1_000).mean())
        found["gap_seconds.mean"] = float(gap.mean() / 1000.0)
        for level in (90, 99):
            found[f"gap_seconds.p{level}"] = float(np.percentile(gap, level) / 1000.0)
    found.update(_hours("hours", local, 3))
    found.update(_weekdays(local))
    user, time = _stamps(log, pl.col("random"))
    if len(user):
        gap = (time[1:] - time[:-1])[user[1:] == user[:-1]]
        found.update(_gaps("random_gap", gap))
        found.update(_hours("random_hours", china_ms(time), 6))
    return found


def _stamps(log: LogTables, where: pl.Expr) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = log.impressions().filter(where).select("user_id", "time_ms")
    frame = rows.sort("user_id", "time_ms").collect()
    return frame["user_id"].to_numpy(), frame["time_ms"].to_numpy()


def _gaps(name: str, gap: NDArray[np.int64]) -> Measures:
    if len(gap) == 0:
        return {}
    return {
        f"{name}.{label}": float(((gap >= low) & (gap < high)).mean()) for label, low, high in _GAPS
    }


def _hours(name: str, local: NDArray[np.int64], width: int) -> Measures:
    hour = local % DAY_MS // HOUR_MS
    counts = np.bincount(hour // width, minlength=24 // width) / len(local)
    return {f"{name}.{n * width}-{(n + 1) * width}h": float(c) for n, c in enumerate(counts)}


def _weekdays(local: NDArray[np.int64]) -> Measures:
    """Shares of a week, of logs that span whole weeks."""
    day = local // DAY_MS
    if (int(day.max()) - int(day.min()) + 1) % 7:
        return {}
    counts = np.bincount(weekday(day), minlength=7) / len(day)
    return {f"weekday.{name}": float(c) for name, c in zip(_WEEKDAYS, counts, strict=True)}
