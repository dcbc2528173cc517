"""Read a ranked comment section as users of the log do, as far as the log tells.

Three cases. (1) No comment was listed: only the total stay is known; it comes from the stay
distribution. (2) The log has comment events with dwell times: reading walks down the list with a
fitted chance of going on, dwells and likes depend on the person, the comment and its like count.
(3) The log has comment events without dwell times or only positive ones (KuaiComt): the drawn stay
is divided over as many comments as fit, and likes occur at the logged rate per opened section.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as logit_of

from simulator.logs.dataset import Dataset
from simulator.randomness import normal, purpose_key, uniform
from simulator.requests import Int32, Int64
from simulator.response.base import Read
from simulator.response.learned.features import pool_of
from simulator.response.learned.parts.seen import Effects, ShownComments

Float64 = NDArray[np.float64]

POSITIONS = 64
EVENTS_AT_ONCE = 2_000_000
"""Comment events in memory while effects are learned, about."""
_PARTS = 0
_TYPICAL_DWELL_MS = 3_000.0
_GO_ON = purpose_key(0, "response.learned.go_on")
_DWELL = purpose_key(0, "response.learned.dwell")
_LIKE = purpose_key(0, "response.learned.comment_like")
_REPLY = purpose_key(0, "response.learned.comment_reply")


@dataclass(frozen=True)
class CommentModel:
    """Additive, shrunken effects of the person and the comment.

    Attributes:
        dwell_known: Whether the log has dwell times (case 2 above).
        go_on: float64[POSITIONS], chance of looking at position r + 1 after r.
        dwell: float64[3], log-dwell mean, slope on log like count, standard deviation.
        like, reply: float64[2], logit intercept and slope on log like count.
        overhead_ms: Stay that is not spent on a listed comment.
        user_dwell, user_like: float64[N]; comment_dwell, comment_like: float64[M], effects.
        log_likes: float64[M], centred log(1 + likes).
    """

    dwell_known: bool
    go_on: Float64
    dwell: Float64
    like: Float64
    reply: Float64
    overhead_ms: float
    user_dwell: Float64
    user_like: Float64
    comment_dwell: Float64
    comment_like: Float64
    log_likes: Float64

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        opened_sections: int,
        mean_stay_ms: float,
        people: Int32 | None = None,
    ) -> CommentModel:
        """Fit from ``comment_events``; without them nobody likes or replies to a comment.

        Events of about `EVENTS_AT_ONCE` are in memory at a time: rates come from the people given,
        effects of persons and comments from everybody, one part of the people after the other.

        Args:
            dataset: The log.
            opened_sections: Comment sections that these people opened.
            mean_stay_ms: Their mean stay.
            people: int32, dense; None for everyone.
        """
        catalogue = dataset.catalogue()
        raw = np.log1p(np.maximum(catalogue.comment_likes, 0).astype(np.float64))
        log_likes = raw - raw.mean() if len(raw) else raw
        n_users, n_comments = len(dataset.user_ids()), len(raw)
        empty = cls(
            dwell_known=False,
            go_on=np.full(POSITIONS, 0.8),
            dwell=np.array([np.log(_TYPICAL_DWELL_MS), 0.0, 1.0]),
            like=np.array([-np.inf, 0.0]),
            reply=np.array([-np.inf, 0.0]),
            overhead_ms=0.0,
            user_dwell=np.zeros(n_users),
            user_like=np.zeros(n_users),
            comment_dwell=np.zeros(n_comments),
            comment_like=np.zeros(n_comments),
            log_likes=log_likes,
        )
        if not (dataset.has("comment_events") and dataset.has("comments")):
            return empty
        seen = ShownComments.read(dataset, people)
        if len(seen.known) == 0:
            return empty
        x = log_likes[seen.comment]
        if not bool((~seen.liked & ~seen.replied).any()) or not seen.timed.any():
            shown = max(opened_sections, 1) * max(mean_stay_ms / _TYPICAL_DWELL_MS, 1.0)
            rates = [np.clip(x.sum() / shown, 1e-9, 0.5) for x in (seen.liked, seen.replied)]
            return _with(empty, like=np.array([logit_of(rates[0]), 0.0]),
                         reply=np.array([logit_of(rates[1]), 0.0]))  # fmt: skip
        timed = seen.timed
        slope, mean = (
            np.polyfit(x[timed], seen.log_dwell[timed], 1)
            if np.ptp(x[timed])
            else (0.0, seen.log_dwell[timed].mean())
        )
        like = _logistic(x, seen.liked)
        effects = Effects.of(_parts(dataset, seen, people), log_likes, (mean, slope), like, n_users)
        residual = seen.log_dwell - mean - slope * x
        residual = residual - effects.user_dwell[seen.user]
        residual = residual - effects.comment_dwell[seen.comment]
        return cls(
            dwell_known=True,
            go_on=_go_on(seen.events, seen.known),
            dwell=np.array([mean, slope, residual[timed].std()]),
            like=like,
            reply=_logistic(x, seen.replied),
            overhead_ms=_overhead(seen.events, seen.known, mean_stay_ms, opened_sections),
            user_dwell=effects.user_dwell,
            user_like=effects.user_like,
            comment_dwell=effects.comment_dwell,
            comment_like=effects.comment_like,
            log_likes=log_likes,
        )

    def read(
        self, users: Int32, key: NDArray[np.uint64], slot: Int64, comments: Int32, stay_ms: Int64
    ) -> Read:
        """Read sections; see `simulator.response.base.Population.read`.

        Args:
            users: int32[R], dense users.
            key: uint64[R].
            slot: int64[R].
            comments: int32[R, M] in display order, -1 padded.
            stay_ms: int64[R], stays drawn from the stay distribution (> 0).
        """
        listed = comments >= 0
        real = np.where(listed, comments, 0)
        if not len(self.log_likes):
            listed = np.zeros_like(listed)
        place = np.arange(comments.shape[1])
        key, slot = key[:, None], slot[:, None]
        if self.dwell_known:
            go_on = self.go_on[np.minimum(np.maximum(place - 1, 0), POSITIONS - 1)]
            on = (uniform(key, _GO_ON, slot, place) < go_on) | (place == 0)
            shown = np.logical_and.accumulate(on & listed, axis=1)
        else:
            fits = np.maximum(stay_ms // int(_TYPICAL_DWELL_MS), 1)
            shown = listed & (place < fits[:, None])
        if not listed.any():
            nothing = np.zeros(comments.shape, dtype=bool)
            dwell = np.zeros(comments.shape, dtype=np.int64)
            return Read.of_tables(dwell, nothing, nothing, nothing, stay_ms)
        x, person = self.log_likes[real], users[:, None]
        # Noise belongs to the comment, not to its position: it follows the comment between arms.
        if self.dwell_known:
            score = normal(key, _DWELL, slot, real)
            log_dwell = (
                self.dwell[0]
                + self.dwell[1] * x
                + self.user_dwell[person]
                + self.comment_dwell[real]
                + self.dwell[2] * score
            )
            dwell = np.where(shown, np.rint(np.exp(np.clip(log_dwell, 0.0, 13.0))), 0)
        else:
            each = stay_ms // np.maximum(shown.sum(axis=1), 1)
            dwell = np.where(shown, each[:, None], 0)
        dwell = dwell.astype(np.int64)
        effect = self.user_like[person] + self.comment_like[real]
        chance = expit(self.like[0] + self.like[1] * x + effect)
        like = shown & (uniform(key, _LIKE, slot, real) < chance)
        chance = expit(self.reply[0] + self.reply[1] * x)
        reply = shown & (uniform(key, _REPLY, slot, real) < chance)
        if self.dwell_known:
            read_ms = dwell.sum(axis=1) + int(self.overhead_ms)
            stay_ms = np.where(listed.any(axis=1), np.maximum(read_ms, 1), stay_ms)
        return Read.of_tables(dwell, shown, like, reply, stay_ms)


def _with(model: CommentModel, *, like: Float64, reply: Float64) -> CommentModel:
    return CommentModel(**{**model.__dict__, "like": like, "reply": reply})


def _parts(dataset: Dataset, seen: ShownComments, people: Int32 | None) -> Iterator[ShownComments]:
    """What everybody saw, in parts of people; ``seen`` where that is everything."""
    count = -(-dataset.info.rows["comment_events"] // EVENTS_AT_ONCE)
    if people is None and count <= 1:
        yield seen
        return
    part = pool_of(dataset.user_ids(), count, _PARTS)
    for number in range(count):
        yield ShownComments.read(dataset, np.flatnonzero(part == number).astype(np.int32))


def _logistic(x: Float64, label: NDArray[np.bool_]) -> Float64:
    """Intercept and slope by ridge-stabilised Newton steps."""
    if not label.any():
        return np.array([-np.inf, 0.0])
    design = np.stack([np.ones_like(x), x], axis=1)
    rate = np.clip(label.mean(), 1e-6, 1.0 - 1e-6)
    theta = np.array([logit_of(rate), 0.0])
    for _ in range(25):
        p = expit(design @ theta)
        hessian = (design * (p * (1.0 - p))[:, None]).T @ design + np.diag([1e-6, 1.0])
        gradient = design.T @ (label - p) - np.array([0.0, theta[1]])
        step = np.linalg.solve(hessian, gradient)
        theta = theta + step
        if np.abs(step).max() < 1e-9:
            break
    return theta


def _visits(events: pl.DataFrame, known: NDArray[np.bool_]) -> pl.DataFrame:
    """One row per visited section: comments shown and dwell in all.

    A visit is a run of consecutive events of one person under one video.
    """
    moved = pl.any_horizontal(
        (pl.col(name) != pl.col(name).shift(1)).fill_null(True) for name in ("user_id", "video_id")
    )
    return (
        events.filter(pl.Series(known))
        .sort("user_id", "time_ms", maintain_order=True)
        .with_columns(moved.cum_sum().alias("visit"))
        .group_by("visit")
        .agg(shown=pl.len(), dwell=pl.col("dwell_ms").sum())
    )


def _go_on(events: pl.DataFrame, known: NDArray[np.bool_]) -> Float64:
    """Chance of a next comment at each depth, shrunken towards the common one."""
    depth = np.minimum(_visits(events, known)["shown"].to_numpy(), POSITIONS)
    reached = np.array([(depth >= r + 1).sum() for r in range(POSITIONS + 1)], dtype=np.float64)
    common = reached[1:].sum() / max(reached[:-1].sum(), 1.0)
    return np.asarray((reached[1:] + 20.0 * common) / (reached[:-1] + 20.0))


def _overhead(
    events: pl.DataFrame, known: NDArray[np.bool_], mean_stay_ms: float, sections: int
) -> float:
    """Mean stay minus mean dwell on listed comments; sections without events had none."""
    visits = _visits(events, known)
    total = float(visits["dwell"].sum())
    return max(mean_stay_ms - total / max(sections, visits.height, 1), 0.0)
