"""Estimate the value of a policy that takes one action per row.

Rows ``i`` have weight ``w = target / logging``, outcome ``y``, a reward model's prediction ``q`` of
the logged action and its mean ``e`` over the target policy. Common assumptions: the logging
probability is right, whatever the target can choose the log could have shown, and an action's
outcome does not depend on other rows' actions. Every function returns None where the log says
nothing: no row has weight, or one user holds all of it.

    matching    sum target*y / sum target       Li et al., WSDM 2011; uniform logging only
    IPS         mean of w*y                     Horvitz & Thompson, JASA 1952
    SNIPS       sum w*y / sum w                 Swaminathan & Joachims, NeurIPS 2015
    DM          mean of e                       Beygelzimer & Langford, KDD 2009
    DR          mean of e + w*(y - q)           Dudik, Langford & Li, ICML 2011
    SNDR        mean of e + sum w*(y-q)/sum w   Thomas & Brunskill, ICML 2016

MRDR is DR with a model fitted with `weights.more_robust`; SWITCH-DR, optimistic shrinkage, clipping
and sub-Gaussian weights replace ``w`` (`simulator.replay.estimators.weights`); MIPS replaces ``w``
by `Candidates.marginal_weights`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators import weights
from simulator.replay.estimators.linear import Float64, Linear, Users, ratio
from simulator.replay.estimators.rows import Rows


def ips(weight: Float64, outcome: Float64, user: Users, n_users: int) -> Linear | None:
    """Inverse propensity scoring. Unbiased under the common assumptions; unbounded variance."""
    if not (weight > 0).any():
        return None
    linear = ratio(weight * outcome, np.ones_like(weight), user, n_users)
    if linear is None:
        return None
    return Linear(linear.value, linear.influence, _weighted_users(weight, user, n_users))


def snips(weight: Float64, outcome: Float64, user: Users, n_users: int) -> Linear | None:
    """Self-normalised IPS: consistent, invariant to a constant added to the outcome."""
    return ratio(weight * outcome, weight, user, n_users)


def matching(rows: Rows) -> Linear | None:
    """Replay: mean outcome of the rows where the target would have done the same.

    A stochastic target accepts a row with the probability that it takes the logged action; the
    expectation over its draws is the weighted mean returned here. Assumes logging uniform over
    equally many actions in each row.
    """
    return ratio(rows.target * rows.outcome, rows.target, rows.user, rows.n_users)


def inverse_propensity(rows: Rows) -> Linear | None:
    """`ips` of rows."""
    return ips(rows.weight, rows.outcome, rows.user, rows.n_users)


def self_normalised(rows: Rows) -> Linear | None:
    """`snips` of rows."""
    return snips(rows.weight, rows.outcome, rows.user, rows.n_users)


def direct(rows: Rows) -> Linear | None:
    """Direct method: the model's word alone.

    Its variance is that of the contexts; the model's own error is bias that no interval shows.
    """
    _, expected = _model(rows)
    return ratio(expected, np.ones_like(expected), rows.user, rows.n_users)


def doubly_robust(rows: Rows) -> Linear | None:
    """Doubly robust: unbiased if the logging probabilities or the model are right.

    The model must not have been fitted on the row's own user (`simulator.replay.models.crossfit`).
    """
    model, expected = _model(rows)
    if not (rows.weight > 0).any():
        return None
    value = expected + rows.weight * (rows.outcome - model)
    linear = ratio(value, np.ones_like(value), rows.user, rows.n_users)
    if linear is None:
        return None
    return Linear(
        linear.value, linear.influence, _weighted_users(rows.weight, rows.user, rows.n_users)
    )


def self_normalised_doubly_robust(rows: Rows) -> Linear | None:
    """Doubly robust with the correction divided by the mean weight."""
    model, expected = _model(rows)
    level = ratio(expected, np.ones_like(expected), rows.user, rows.n_users)
    correction = ratio(rows.weight * (rows.outcome - model), rows.weight, rows.user, rows.n_users)
    if level is None or correction is None:
        return None
    total = level + correction
    return Linear(total.value, total.influence, correction.contributes)


def clipped_ips(rows: Rows, limit: float) -> Linear | None:
    """IPS with weights of at most ``limit``; biased towards 0 for non-negative outcomes."""
    return inverse_propensity(rows.with_weight(weights.clipped(rows.weight, limit)))


def switch_dr(rows: Rows, limit: float) -> Linear | None:
    """DR where the weight is at most ``limit``, the model elsewhere."""
    return _model_if_nothing(rows, weights.switched(rows.weight, limit))


def shrinkage_dr(rows: Rows, strength: float) -> Linear | None:
    """DR with optimistically shrunk weights."""
    return _model_if_nothing(rows, weights.shrunk(rows.weight, strength))


def sub_gaussian_ips(rows: Rows, smoothing: float) -> Linear | None:
    """IPS with sub-Gaussian weights."""
    return inverse_propensity(rows.with_weight(weights.sub_gaussian(rows.weight, smoothing)))


def sub_gaussian_dr(rows: Rows, smoothing: float) -> Linear | None:
    """DR with sub-Gaussian weights."""
    return _model_if_nothing(rows, weights.sub_gaussian(rows.weight, smoothing))


def marginalised_ips(rows: Rows, marginal: Float64) -> Linear | None:
    """MIPS: IPS with the weights of `Candidates.marginal_weights`."""
    return inverse_propensity(rows.with_weight(marginal))


UNTUNED: dict[str, Callable[[Rows], Linear | None]] = {
    "matching": matching,
    "ips": inverse_propensity,
    "snips": self_normalised,
    "dm": direct,
    "dr": doubly_robust,
    "sndr": self_normalised_doubly_robust,
}
"""Estimators without a tuning parameter, by name."""

TUNED: dict[str, Callable[[Rows, float], Linear | None]] = {
    "clipped_ips": clipped_ips,
    "switch_dr": switch_dr,
    "dr_os": shrinkage_dr,
    "sub_gaussian_ips": sub_gaussian_ips,
    "sub_gaussian_dr": sub_gaussian_dr,
}
"""Estimators with one parameter that trades bias for variance, by name."""

NEEDS_MODEL = frozenset({"dm", "dr", "sndr", "mrdr", "switch_dr", "dr_os", "sub_gaussian_dr"})


def _model(rows: Rows) -> tuple[Float64, Float64]:
    if rows.model is None or rows.expected is None:
        raise ValueError("this estimator needs a reward model: give model and expected")
    return rows.model, rows.expected


def _model_if_nothing(rows: Rows, weight: Float64) -> Linear | None:
    """DR with these weights; where none is left, the direct method it has become."""
    if not (rows.weight > 0).any():
        return None
    changed = rows.with_weight(weight)
    return doubly_robust(changed) if (weight > 0).any() else direct(changed)


def _weighted_users(weight: Float64, user: Users, n_users: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(user, weights=weight, minlength=n_users) > 0)


__all__ = [
    "NEEDS_MODEL",
    "TUNED",
    "UNTUNED",
    "clipped_ips",
    "direct",
    "doubly_robust",
    "inverse_propensity",
    "ips",
    "marginalised_ips",
    "matching",
    "self_normalised",
    "self_normalised_doubly_robust",
    "shrinkage_dr",
    "snips",
    "sub_gaussian_dr",
    "sub_gaussian_ips",
    "switch_dr",
]
