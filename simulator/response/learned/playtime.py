"""Fit play times: one quantile function per (skip, click, long view) and duration group.

Where the log's labels follow KuaiRand's single-column rules (click: play > 7 s, or to the end of a
shorter video; long view: play >= 18 s, or to the end of a shorter one) in nearly all rows, drawn
play times are held to those rules as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int64
from simulator.response.learned.quantiles import QuantileTable

Float64 = NDArray[np.float64]

CLICK_MS = 7_000
LONG_VIEW_MS = 18_000
_EDGES_MS = np.array([1, 7_000, 12_000, 18_000, 35_000, 60_000, 120_000])
_GROUPS = len(_EDGES_MS) + 1
_RULES_HOLD = 0.99


def duration_group(duration_ms: Int64) -> Int64:
    """int64: 0 unknown duration, then groups of increasing duration."""
    return np.asarray(np.searchsorted(_EDGES_MS, duration_ms, side="right"), dtype=np.int64)


def thresholds(duration_ms: Int64) -> tuple[Float64, Float64]:
    """(click, long-view) thresholds of play time in ms; an unknown duration counts as long."""
    known = np.where(duration_ms > 0, duration_ms, np.iinfo(np.int64).max)
    click = np.where(known <= CLICK_MS, known, CLICK_MS + 1)  # longer than 7 s, strictly
    return click * 1.0, np.minimum(known, LONG_VIEW_MS) * 1.0


def _within_state(duration_ms: Int64, state: Int64) -> tuple[Float64, Float64]:
    """Lowest and (exclusive) highest play time of each state under the rules."""
    click, long_view = thresholds(duration_ms)
    # At or below 7 s both rules ask for the whole video, so a click is a long view.
    low = np.choose(state, [np.zeros_like(click), click, long_view])
    high = np.choose(state, [click, np.maximum(long_view, click + 1), np.full_like(click, np.inf)])
    return low, high


@dataclass(frozen=True)
class PlayTime:
    """Play time given what was drawn.

    Attributes:
        table: One cell per (state, duration group).
        rules_hold: Whether play times are held to the single-column label rules.
        conformity: Share of the log's rows that follow those rules.
    """

    table: QuantileTable
    rules_hold: bool
    conformity: float

    @classmethod
    def fit(cls, play_ms: Int64, state: Int64, duration_ms: Int64) -> PlayTime:
        """Fit from rows with known play time, all int64[N]."""
        parent = np.repeat(np.arange(3), _GROUPS)
        table = QuantileTable.fit(
            play_ms.astype(np.float64), cls.cell(state, duration_ms), 3 * _GROUPS, parent
        )
        low, high = _within_state(duration_ms, state)
        inside = (play_ms >= low) & (play_ms < high)
        conformity = float(inside.mean()) if len(inside) else 0.0
        return cls(table, conformity >= _RULES_HOLD, conformity)

    @staticmethod
    def cell(state: Int64, duration_ms: Int64) -> Int64:
        """Table cell, int64[...]."""
        return np.asarray(state * _GROUPS + duration_group(duration_ms), dtype=np.int64)

    def draw(self, score: Float64, state: Int64, duration_ms: Int64) -> Int64:
        """Play time in ms, int64[...], for normal scores float64[...]."""
        play = self.table.value(score, self.cell(state, duration_ms))
        if self.rules_hold:
            low, high = _within_state(duration_ms, state)
            play = np.clip(play, low, np.maximum(high - 1, low))
        return np.asarray(np.rint(play), dtype=np.int64)
