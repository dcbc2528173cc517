"""Describe sessions by numbers that a classifier may look at, real and simulated ones alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

SWIPED_MS = 3_000
_LONGEST_RATIO = 5.0
PAUSES = ("seconds",)
"""Features that tell the time between impressions, beside what people do."""


@dataclass(frozen=True)
class Lived:
    """Impressions of S sessions, real or simulated; a session's rows follow each other.

    Attributes:
        session: int64[N], 0 .. S - 1, non-decreasing.
        user: int64[S].
        seconds: float64[S], from the first impression to the end of the last one.
        play_ms: int64[N], without comment time.
        stay_ms: int64[N], in comment sections.
        duration_ms: int64[N], 0 unknown.
        flags: bool[N] by name.
    """

    session: Int64
    user: Int64
    seconds: Float64
    play_ms: Int64
    stay_ms: Int64
    duration_ms: Int64
    flags: Mapping[str, Bool]


def session_features(lived: Lived) -> dict[str, Float64]:
    """float64[S] by name: length, times, play ratios, and the share of impressions of each flag."""
    count = np.bincount(lived.session, minlength=len(lived.user)).astype(np.float64)

    def mean(values: NDArray[np.generic]) -> Float64:
        total = np.bincount(lived.session, values.astype(np.float64), len(lived.user))
        return np.asarray(total / np.maximum(count, 1.0))

    known = lived.duration_ms > 0
    ratio = np.where(known, lived.play_ms / np.maximum(lived.duration_ms, 1), 0.0)
    ratio = np.minimum(ratio, _LONGEST_RATIO)
    average = mean(ratio)
    spread = np.sqrt(np.maximum(mean(ratio**2) - average**2, 0.0))
    play, stay = mean(lived.play_ms) / 1e3, mean(lived.stay_ms) / 1e3
    logs = np.log1p(lived.play_ms / 1e3)
    own = np.sqrt(np.maximum(mean(logs**2) - mean(logs) ** 2, 0.0))
    return {
        "impressions": count,
        "seconds": lived.seconds,
        "play seconds per impression": play,
        "spread of log play seconds": own,
        "play ratio": average,
        "spread of play ratio": spread,
        "swiped share": mean(lived.play_ms < SWIPED_MS),
        "comment seconds per impression": stay,
        "log comment seconds": np.log1p(stay * count),
        **{f"{name} share": mean(flag) for name, flag in lived.flags.items()},
    }
