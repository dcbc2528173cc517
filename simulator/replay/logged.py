"""Hold the choices of one stage of a log: what was shown, what could have been, how likely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.replay.metrics import OUTCOME_COLUMNS
from simulator.requests import Int32, Int64

Float64 = NDArray[np.float64]
Stage = Literal["videos", "comments"]


@dataclass(frozen=True)
class LoggedRows:
    """Usable choices, sorted by user, time, page and position.

    A page is what was ranked together: the slots of a feed page, or the comments of one opened
    section. Its rows stand next to one another, and candidates that stand higher on the page
    cannot be chosen again.

    Attributes:
        user: int32[N], dense user index.
        shown: int32[N], dense index of the video or comment that was shown.
        time_ms: int64[N].
        page: int64[N], number of the page, non-decreasing.
        position: int64[N], place on the page.
        propensity: float64[N], probability that the log's policy showed this here, in (0, 1].
        candidates: int32[N, C] what the ranker was given (-1 padded), or None if all share
            ``pool``.
        logging: float32[N, C], probability of every candidate in this place; None where only the
            shown one's is known.
        pool: int32[P] eligible videos of every row, or None.
        uniform: Whether every eligible video was equally likely in every row.
        outcomes: Raw outcome columns, float64[N] with NaN for unknown.
        accounting: Rows read and why others were not used.
        kind: ``"decisions"``, ``"candidates"``, ``"random pool"``, ``"all videos"`` or ``"given"``
            (the log states the target's probability itself).
        warnings: What to mention about these rows.
        section: int32[N], the video whose comments these are; None for the video stage.
        request: int64[N], the log's own request identifier; None where it has none.
    """

    user: Int32
    shown: Int32
    time_ms: Int64
    page: Int64
    position: Int64
    propensity: Float64
    candidates: Int32 | None
    logging: NDArray[np.float32] | None
    pool: Int32 | None
    uniform: bool
    outcomes: dict[str, Float64]
    accounting: dict[str, int]
    kind: str
    warnings: list[str]
    section: Int32 | None = None
    request: Int64 | None = None

    def __len__(self) -> int:
        return len(self.user)

    def sizes(self) -> Int64:
        """int64[N]: number of eligible candidates per row, those above it on the page included."""
        if self.candidates is not None:
            return np.asarray((self.candidates >= 0).sum(axis=1), dtype=np.int64)
        assert self.pool is not None
        return np.full(len(self), len(self.pool), dtype=np.int64)


def outcome_arrays(frame: pl.DataFrame) -> dict[str, Float64]:
    """The outcome columns that a frame has, as float64 with NaN for unknown."""
    return {
        name: frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for name in OUTCOME_COLUMNS
        if name in frame.columns
    }


def padded_lists(
    lists: pl.Series, values: pl.Series | None = None
) -> tuple[Int64, Int64, NDArray[np.int64], NDArray[np.float32] | None]:
    """Flatten a column of lists.

    Args:
        lists: N lists of identifiers; null counts as empty.
        values: N lists of as many numbers, or None.

    Returns:
        Row and place in it of every cell, the identifiers, and the numbers.
    """
    counts = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    row = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    identifiers = lists.filter(pl.Series(counts > 0)).explode().to_numpy().astype(np.int64)
    numbers = None
    if values is not None:
        numbers = values.filter(pl.Series(counts > 0)).explode().to_numpy().astype(np.float32)
    return row, place, identifiers, numbers
