"""Read which comments some people saw, and learn persons' and comments' effects from all parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from simulator.logs.dataset import Dataset
from simulator.logs.interactions import of_people
from simulator.requests import Int32, Int64

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

_SHRINK = 10.0
_PRIOR_EVENTS = 2.0


@dataclass(frozen=True)
class ShownComments:
    """Comments that people saw, as far as the catalogue knows them.

    Attributes:
        events: Rows of ``comment_events``, in the order of the log.
        known: bool[rows], whether the catalogue knows the comment; n are.
        user: int64[n], dense; comment: int32[n], dense.
        liked, replied: bool[n].
        log_dwell: float64[n]; timed: bool[n], whether it is known.
    """

    events: pl.DataFrame
    known: Bool
    user: Int64
    comment: Int32
    liked: Bool
    replied: Bool
    log_dwell: Float64
    timed: Bool

    @classmethod
    def read(cls, dataset: Dataset, people: Int32 | None) -> ShownComments:
        """What some people saw.

        Args:
            dataset: A log with comment events.
            people: int32, dense; None for everyone.
        """
        events = _events(dataset, people)
        user = np.searchsorted(dataset.user_ids(), events["user_id"].to_numpy())
        comment = np.asarray(dataset.catalogue().comment_index(events["comment_id"].to_numpy()))
        known = comment >= 0
        dwell = events["dwell_ms"].fill_null(0).to_numpy()[known].astype(np.float64)
        return cls(
            events=events,
            known=known,
            user=user[known],
            comment=comment[known],
            liked=events["is_like"].fill_null(0).to_numpy()[known] > 0,
            replied=events["is_reply"].fill_null(0).to_numpy()[known] > 0,
            log_dwell=np.log(np.maximum(dwell, 1.0)),
            timed=dwell > 0,
        )


@dataclass(frozen=True)
class Effects:
    """Shrunken effects on log dwell and on the log odds of a like.

    Attributes:
        user_dwell, user_like: float64[N].
        comment_dwell, comment_like: float64[M].
    """

    user_dwell: Float64
    user_like: Float64
    comment_dwell: Float64
    comment_like: Float64

    @classmethod
    def of(
        cls,
        parts: Iterable[ShownComments],
        log_likes: Float64,
        dwell: tuple[float, float],
        like: Float64,
        n_users: int,
    ) -> Effects:
        """Learn them part by part; everybody is in one part, whole.

        Args:
            parts: What people saw.
            log_likes: float64[M], centred log(1 + likes) of each comment.
            dwell: Mean of log dwell, and its slope on ``log_likes``.
            like: float64[2], intercept and slope of the log odds of a like.
            n_users: Number of people, N.
        """
        n = len(log_likes)
        user_dwell, user_like = np.zeros(n_users), np.zeros(n_users)
        total, times, likes, expected = (np.zeros(n) for _ in range(4))
        for part in parts:
            x, timed = log_likes[part.comment], part.timed
            residual = part.log_dwell - dwell[0] - dwell[1] * x
            own = _shrunken(*_sums(part.user[timed], residual[timed], n_users))
            user_dwell += own
            residual = residual - own[part.user]
            chance = expit(like[0] + like[1] * x)
            user_like += _log_ratio(
                _sums(part.user, part.liked, n_users)[0], _sums(part.user, chance, n_users)[0]
            )
            more, count = _sums(part.comment[timed], residual[timed], n)
            total += more
            times += count
            likes += _sums(part.comment, part.liked, n)[0]
            expected += _sums(part.comment, chance, n)[0]
        return cls(user_dwell, user_like, _shrunken(total, times), _log_ratio(likes, expected))


def _events(dataset: Dataset, people: Int32 | None) -> pl.DataFrame:
    optional = [c for c in ("dwell_ms", "position") if dataset.has_column("comment_events", c)]
    wanted = None
    if people is not None:
        wanted = np.zeros(len(dataset.user_ids()), dtype=np.bool_)
        wanted[people] = True
    rows = of_people(dataset, "comment_events", wanted)
    if dataset.has_column("comment_events", "is_shown"):
        rows = rows.filter(pl.col("is_shown").fill_null(1) == 1)
    frame = (
        rows.select(
            "_row", "user_id", "video_id", "comment_id", "time_ms", "is_like", "is_reply", *optional
        )
        .collect(engine="streaming")
        .sort("_row")
    )
    missing = [c for c in ("dwell_ms", "position") if c not in frame.columns]
    return frame.with_columns(pl.lit(None, dtype=pl.Int64).alias(c) for c in missing)


def _sums(group: NDArray[np.integer], values: NDArray[Any], n: int) -> tuple[Float64, Float64]:
    """Sum of the values and number of rows of each group."""
    total = np.bincount(group, weights=values, minlength=n)
    return np.asarray(total), np.bincount(group, minlength=n).astype(np.float64)


def _shrunken(total: Float64, count: Float64) -> Float64:
    """Group means with a pseudo-count of 10."""
    return np.asarray(total / (count + _SHRINK))


def _log_ratio(observed: Float64, expected: Float64) -> Float64:
    """Log ratio of observed to expected counts per group (gamma prior, 2 events)."""
    return np.asarray(np.log((observed + _PRIOR_EVENTS) / (expected + _PRIOR_EVENTS)))
