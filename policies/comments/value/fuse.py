"""Weigh another policy's comment score beside the comment value, by what it adds to dwell_r."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Scores
from policies.comments.value.fit import BETTER_TEXTS, Fitted, HeldVisits
from policies.evaluation.dwell import DwellCorrelation, from_visit_mean, log_dwell
from policies.evaluation.seen_visits import score_seen
from simulator.logs.reads import SeenComments
from simulator.requests import CommentRequests

Float64 = NDArray[np.float64]
ScoreComments = Callable[[CommentRequests], Scores | None]
"""Scores a group of its own at each call: what is cached by row is forgotten before."""


def own_weight(fitted: Fitted, score: ScoreComments) -> tuple[float, dict[str, Any]]:
    """Weight of a policy's comment score beside the comment value; 0 where it adds too little.

    The weight is learned from half of the held people and judged on the other half, both ways.

    Args:
        fitted: The comment value.
        score: The policy, trained without the held people.

    Returns:
        The weight, in units of the comment value; and what was compared, for people.
    """
    if fitted.model is None or fitted.judged is None or fitted.held is None:
        return 0.0, {}
    held = fitted.held
    own = scores_of(held, score)
    if own is None:
        return 0.0, {}
    value = held.scores(fitted.judged)
    parts = np.stack([from_visit_mean(v, held.visit) for v in (value, own)], axis=1)
    y = from_visit_mean(log_dwell(held.seen.dwell_ms), held.visit)
    side = held.person % 2 == 0
    fused = np.zeros(len(held))
    for learned in (side, ~side):
        fused[~learned] = parts[~learned] @ _least_squares(parts[learned], y[learned])
    with_own, alone = held.correlation(fused), held.correlation(value)
    gain: DwellCorrelation = with_own.minus(alone)
    told = {
        "dwell_r alone": round(held.correlation(own).r, 4),
        "adds": [round(float(v), 4) for v in (gain.r, *gain.interval)],
    }
    if gain.r < BETTER_TEXTS:
        return 0.0, told
    weights = _least_squares(parts, y)
    return float(weights[1] / weights[0]) if weights[0] > 0.0 else 0.0, told


def scores_of(held: HeldVisits, score: ScoreComments) -> Float64 | None:
    """float64[n]: what a policy scores the comments seen by held-out people, at those moments."""
    seen = SeenComments(**{**vars(held.seen), "visit": held.visit})
    return score_seen(seen, held.history, score)


def _least_squares(x: Float64, y: Float64) -> Float64:
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
