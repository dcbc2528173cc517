"""Hold what people make of a page before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int32, Int64

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Page:
    """One page as a person meets it; float32[B, S] unless said otherwise.

    Attributes:
        rows: int64[B], rows of the people.
        videos: int32[B, S].
        vectors: float32[B, S, 16].
        relevance: How well each video suits the person, by lasting taste and quality together, of
            unit variance over random people and videos.
        pleasure: How much of the time with each video is well spent if it is watched, 0..1.
        click: Probability of a click.
        duration: Seconds.
        shortest: Seconds that a click lasts at least.
        room: Seconds between the shortest click and the longest partial play.
        full: Probability that a click plays to the end.
        share: Exponent of the partial play's law.
        curious: float32[B, 1], what a recent change of ranker adds to log-odds.
        grid: bool[B, 1], pages of the two-column tab.
    """

    rows: Int64
    videos: Int32
    vectors: Float32
    relevance: Float32
    pleasure: Float32
    click: Float32
    duration: Float32
    shortest: Float32
    room: Float32
    full: Float32
    share: Float32
    curious: Float32
    grid: Bool


def sigmoid(logit: NDArray[np.floating[Any]]) -> Float32:
    """float32: 1 / (1 + exp(-x)), several times faster than `scipy.special.expit` in float32."""
    # Bounded, as single precision overflows at 88.
    odds = np.minimum(-logit, np.float32(80.0)).astype(np.float32, copy=False)
    np.exp(odds, out=odds)
    odds += np.float32(1.0)
    return np.asarray(np.reciprocal(odds, out=odds))
