"""Estimate one metric under one policy by every estimator that the log allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators import Linear, Rows
from simulator.replay.estimators.blend import blend
from simulator.replay.estimators.linear import ratio_of_sums, user_sums
from simulator.replay.estimators.nested import nested_snips
from simulator.replay.estimators.single import (
    direct,
    doubly_robust,
    inverse_propensity,
    matching,
    self_normalised,
    self_normalised_doubly_robust,
    shrinkage_dr,
    switch_dr,
)
from simulator.replay.estimators.tails import cap_of, cut_share, winsorised
from simulator.replay.estimators.tuning import limits, slope, strengths
from simulator.replay.further.orders import Orders
from simulator.replay.metrics import METRICS, ReplayMetric

Float64 = NDArray[np.float64]

_MODEL_ALONE = "the model's own error is in no interval"
TUNED = "the interval leaves out the bias that the tuning accepts"


@dataclass(frozen=True)
class Measured:
    """One metric of the logged impressions.

    Attributes:
        name: A key of `METRICS`.
        outcomes: Columns, float64[N].
        known: bool[N], rows with a known outcome; the others are left out.
        model: float64[N], reward model of what was shown; None without.
    """

    name: str
    outcomes: Mapping[str, Float64]
    known: NDArray[np.bool_]
    model: Float64 | None = None

    @classmethod
    def of(
        cls, name: str, outcomes: Mapping[str, Float64], model: Float64 | None = None
    ) -> Measured:
        """The metric of all rows whose outcome is known."""
        return cls(name, outcomes, ~np.isnan(METRICS[name].values(dict(outcomes))), model)

    @property
    def metric(self) -> ReplayMetric:
        """What is measured."""
        return METRICS[self.name]

    @property
    def keep(self) -> NDArray[np.int64]:
        """int64[K]: the rows with a known outcome."""
        return np.flatnonzero(self.known)

    @property
    def y(self) -> Float64:
        """float64[N]: the outcome; 0 where it is unknown."""
        return np.where(self.known, self.metric.values(dict(self.outcomes)), 0.0)

    @property
    def outcome(self) -> Float64:
        """float64[K]: the known outcomes."""
        return self.metric.values(dict(self.outcomes))[self.known]

    def among(self, rows: NDArray[np.bool_]) -> Measured:
        """The metric of some of the rows, bool[N]."""
        return dataclasses.replace(self, known=self.known & rows)


@dataclass(frozen=True)
class CommentStage:
    """Sections of the impressions and the weights of their orders under one policy.

    Attributes:
        impression: int64[K], impression of every comment that was seen.
        cumulative: float64[K], weight of the order down to it.
        values: By outcome column, float64[K]: what happened at that comment.
        whole: float64[N], weight of all that was seen, per impression; 1 where nothing was.
        second_moment: float64[N], expectation of ``whole`` squared along the logged path.
        cascade_moment: float64[K], the same of ``cumulative``.
        orders: The sections as slates; None unless asked for.
    """

    impression: NDArray[np.int64]
    cumulative: Float64
    values: Mapping[str, Float64]
    whole: Float64
    second_moment: Float64
    cascade_moment: Float64
    orders: Orders | None = None


@dataclass(frozen=True)
class Weighted:
    """The logged impressions as one policy sees them.

    Attributes:
        user: int[N], 0 .. ``n_users`` - 1.
        n_users: Number of users.
        target, logging: float64[N], probabilities of the shown video; ones if that stage is as
            logged.
        second_moment: float64[N] of the video weights.
        page: float64[N], product of the video weights down to this slot; None without pages.
        page_moment: float64[N], expectation of its square along the logged path.
        comments: The comment stage, None if it is as logged.
        uniform: Whether all eligible videos were equally likely.
        expected: By metric: float64[N], the reward model averaged over the policy's choices.
        marginal: float64[N], weights of the videos' categories; None where ``no_marginal`` says
            why there are none.
        marginal_moment: float64[N], expectation of their squares.
        no_marginal: A reason.
        largest: The largest weight that the log's design allows; None where that is unknown.
    """

    user: NDArray[np.integer]
    n_users: int
    target: Float64
    logging: Float64
    second_moment: Float64
    page: Float64 | None
    page_moment: Float64 | None
    comments: CommentStage | None
    uniform: bool
    expected: Mapping[str, Float64] = field(default_factory=dict)
    marginal: Float64 | None = None
    marginal_moment: Float64 | None = None
    no_marginal: str = ""
    largest: float | None = None

    @property
    def weight(self) -> Float64:
        """float64[N]: video weights."""
        return self.target / self.logging

    def rows(self, outcome: Float64, keep: NDArray[np.int64]) -> Rows:
        """Some of the impressions for the estimators; outcome float64[N], keep int64[K]."""
        return Rows(
            self.user[keep], self.n_users, outcome[keep], self.target[keep], self.logging[keep]
        )


@dataclass(frozen=True)
class Valued:
    """One estimate.

    Attributes:
        linear: Value and influences; None where the log says nothing.
        effective: Rows' worth behind it; by design where known.
        events: float64[G], weighted outcomes per user, of estimators that are weighted means; None
            for others.
        weights: float64[G], sums of weights per user, likewise.
        bottom: float64[G], what is summed up to be divided by, likewise: weights, or rows of IPS.
        heaviest: Weight of the heaviest row, likewise.
        parameter: Of a tuned estimator.
        biased: What the interval leaves out; empty for estimators without bias.
        cap: What larger outcomes count as; None if they count in full.
    """

    linear: Linear | None
    effective: float
    events: Float64 | None = None
    weights: Float64 | None = None
    bottom: Float64 | None = None
    heaviest: float | None = None
    parameter: float | None = None
    biased: str = ""
    cap: float | None = None


@dataclass(frozen=True)
class UserSums:
    """What the estimator that is read first adds up, per user.

    The estimate is ``sum top / sum bottom``, with a reward model plus ``sum level / sum rows``.

    Attributes:
        top, bottom: float64[G], weighted outcomes (with a model: what it misses) and weights.
        rows: float64[G], numbers of rows.
        level: float64[G], expected outcomes by the reward model; None without.
    """

    top: Float64
    bottom: Float64
    rows: Float64
    level: Float64 | None

    def linear(self, keep: NDArray[np.bool_]) -> Linear | None:
        """The estimate from the users bool[G] that are kept, as if there were no others."""
        found = ratio_of_sums(self.top * keep, self.bottom * keep)
        if found is None or self.level is None:
            return found
        mean = ratio_of_sums(self.level * keep, self.rows * keep)
        if mean is None:
            return None
        total = mean + found
        return Linear(total.value, total.influence, found.contributes)


def first_sums(measured: Measured, policy: Weighted) -> UserSums:
    """Sums of ``sndr``, without a model of ``cascade`` or ``snips``, of a metric under a policy."""
    y, keep = measured.y, measured.keep
    if measured.metric.comments and policy.comments is not None:
        y, _ = cascade_outcome(measured, policy.comments)
    user, n = policy.user[keep], policy.n_users
    weight, outcome, level = policy.weight[keep], y[keep], None
    if measured.model is not None and measured.name in policy.expected:
        outcome = outcome - measured.model[keep]
        level = user_sums(policy.expected[measured.name][keep], user, n)
    return UserSums(
        user_sums(weight * outcome, user, n),
        user_sums(weight, user, n),
        user_sums(np.ones(len(keep)), user, n),
        level,
    )


def weighted_outcomes(measured: Measured, policy: Weighted) -> tuple[Rows, float]:
    """Rows whose weighted outcomes have the target's distribution, and what they are worth.

    Where the order of comments can move the outcome, the weights are those of all that was seen.
    """
    keep = measured.keep
    rows = policy.rows(measured.y, keep)
    moment = policy.second_moment[keep]
    if measured.metric.comments and policy.comments is not None:
        moment = moment * policy.comments.second_moment[keep]
        rows = rows.with_weight(rows.weight * policy.comments.whole[keep])
    return rows, effective_rows(moment, rows.weight)


def value(measured: Measured, policy: Weighted) -> dict[str, Valued]:
    """All estimates of one metric under one policy."""
    metric, y, keep = measured.metric, measured.y, measured.keep
    stage = policy.comments if metric.comments else None
    rows = policy.rows(y, keep)
    video_moment = policy.second_moment[keep]
    size = effective_rows(video_moment, rows.weight)
    found: dict[str, Valued] = {}
    corrected = rows
    if stage is not None:
        whole = stage.whole[keep]
        both = effective_rows(video_moment * stage.second_moment[keep], rows.weight * whole)
        weighted = rows.with_outcome(y[keep] * whole)
        found["ips"] = weighted_value(inverse_propensity(weighted), weighted, both, by_rows=True)
        found["snips"] = weighted_value(self_normalised(weighted), weighted, both)
        seen = np.zeros(len(y), dtype=bool)
        seen[stage.impression] = True
        if metric.column != "play_time_ms":
            linear = nested_snips(
                rows.weight, seen[keep], whole, y[keep], rows.user, policy.n_users
            )
            found["nested"] = Valued(linear, both)
        cascade, moment = cascade_outcome(measured, stage)
        cascaded = effective_rows(video_moment * moment[keep], rows.weight * np.sqrt(moment[keep]))
        corrected, size = rows.with_outcome(cascade[keep]), cascaded
        found["cascade"] = weighted_value(self_normalised(corrected), corrected, size)
    else:
        if policy.uniform:
            found["matching"] = weighted_value(matching(rows), rows.with_weight(rows.target), size)
        found["ips"] = weighted_value(inverse_propensity(rows), rows, size, by_rows=True)
        found["snips"] = weighted_value(self_normalised(rows), rows, size)
        if policy.page is not None and policy.page_moment is not None:
            paged = rows.with_weight(policy.page[keep])
            moment_size = effective_rows(policy.page_moment[keep], paged.weight)
            found["page"] = weighted_value(self_normalised(paged), paged, moment_size)
    if measured.model is not None and measured.name in policy.expected:
        expected = policy.expected[measured.name][keep]
        found |= _with_model(corrected, measured.model[keep], expected, size)
    if metric.unit == "ms" and stage is None:
        found["winsorised"] = _winsorised(rows, size)
    return found


def _winsorised(rows: Rows, size: float) -> Valued:
    cap = cap_of(rows.outcome)
    cut = f"amounts above {cap / 1000:,.0f} s count as that, "
    cut += f"which takes {100 * cut_share(rows.outcome, cap):.0f} % off the log's own mean"
    return Valued(winsorised(rows, cap), size, biased=cut, cap=cap)


def _with_model(rows: Rows, model: Float64, expected: Float64, size: float) -> dict[str, Valued]:
    full = Rows(rows.user, rows.n_users, rows.outcome, rows.target, rows.logging, model, expected)
    found = {
        "dm": Valued(direct(full), size, biased=_MODEL_ALONE),
        "dr": Valued(doubly_robust(full), size),
        "sndr": Valued(self_normalised_doubly_robust(full), size),
    }
    for name, tuned in (
        ("switch_dr", slope(lambda p: switch_dr(full, p), limits(full.weight))),
        ("dr_os", slope(lambda p: shrinkage_dr(full, p), strengths(full.weight))),
    ):
        if tuned is not None:
            found[name] = Valued(tuned.linear, size, parameter=tuned.parameter, biased=TUNED)
    parts = [self_normalised(rows), found["dr"].linear, found["sndr"].linear]
    found["blend"] = Valued(blend([p for p in parts if p is not None]), size)
    return found


def weighted_value(
    linear: Linear | None, rows: Rows, effective: float, *, by_rows: bool = False
) -> Valued:
    """The estimate with the sums per user behind it; ``by_rows`` if they are divided by rows."""
    weights = user_sums(rows.weight, rows.user, rows.n_users)
    bottom = user_sums(np.ones(len(rows)), rows.user, rows.n_users) if by_rows else weights
    events = user_sums(rows.weight * rows.outcome, rows.user, rows.n_users)
    heaviest = float(rows.weight.max(initial=0.0))
    return Valued(linear, effective, events, weights, bottom, heaviest)


def effective_rows(moment: Float64, weight: Float64) -> float:
    """Rows over the expected squared weight; over the drawn one where that is unknown."""
    if len(moment) == 0:
        return 0.0
    level = float(moment.mean())
    if not np.isnan(level):
        return len(moment) / level if level > 0 else 0.0
    square = float((weight**2).sum())
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0


def cascade_outcome(measured: Measured, stage: CommentStage) -> tuple[Float64, Float64]:
    """The outcome with each comment's part weighted by the order down to it alone.

    What no comment accounts for, such as the moment of opening, is not weighted. The moment is the
    expected squared weight, averaged over an impression's comments; 1 where none was seen.
    """
    y = measured.y
    part = np.nan_to_num(stage.values[comment_column(measured.metric)])
    n = len(y)
    change = np.bincount(stage.impression, weights=(stage.cumulative - 1.0) * part, minlength=n)
    count = np.bincount(stage.impression, minlength=n)
    moment = np.bincount(stage.impression, weights=stage.cascade_moment, minlength=n)
    return y + change, np.where(count > 0, moment / np.maximum(count, 1), 1.0)


def comment_column(metric: ReplayMetric) -> str:
    """The outcome of one comment that a metric adds up."""
    return "comment_stay_time" if metric.column == "play_time_ms" else metric.column
