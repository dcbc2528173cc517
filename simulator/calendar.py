"""Convert Unix time to China's calendar (UTC+8), which every day and hour of a log follows.

China has had no summer time since 1991, so the offset is constant for all logs.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
CHINA_OFFSET_MS = 8 * HOUR_MS

Whole = TypeVar("Whole", int, NDArray[np.int64], pl.Expr)
"""Whole numbers: one, an array, or a Polars expression."""


def china_ms(time_ms: Whole) -> Whole:
    """Milliseconds of China's wall clock since 1 January 1970, 00:00 there."""
    return time_ms + CHINA_OFFSET_MS


def unix_ms(china_ms: Whole) -> Whole:
    """Unix ms of a time of `china_ms`."""
    return china_ms - CHINA_OFFSET_MS


def china_day(time_ms: Whole) -> Whole:
    """Calendar day in China, counted from 1 January 1970."""
    return (time_ms + CHINA_OFFSET_MS) // DAY_MS


def china_midnight_ms(day: Whole) -> Whole:
    """Unix ms at which a calendar day in China begins; the inverse of `china_day`."""
    return day * DAY_MS - CHINA_OFFSET_MS


def china_hour(time_ms: Whole) -> Whole:
    """Hour of day in China, 0 to 23."""
    return (time_ms + CHINA_OFFSET_MS) // HOUR_MS % 24


def weekday(day: Whole) -> Whole:
    """Weekday of a calendar day, 0 for Monday to 6 for Sunday."""
    # 1 January 1970 was a Thursday.
    return (day + 3) % 7
