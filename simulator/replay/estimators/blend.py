"""Combine several correlated estimates of one value into the best linear unbiased one.

Jeunen, RecSys 2025 (arXiv 2508.07914): fixed-effects meta-analysis with correlated errors. With S
the covariance of K estimates, known here from their influences on the same users, the weights
``S^-1 1 / (1' S^-1 1)`` give the least variance among weights that sum to 1. All estimates must
aim at the same value: biased ones (clipped, direct method) have no place in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.replay.estimators.intervals import degrees_of_freedom
from simulator.replay.estimators.linear import Float64, Linear

_RIDGE = 0.05
"""Share of the average variance added to the diagonal: estimated covariances are noisy, and nearly
equal estimates would otherwise get huge weights of opposite sign."""


def blend_weights(estimates: Sequence[Linear], ridge: float = _RIDGE) -> Float64:
    """float64[K], non-negative, summing to 1.

    Best linear unbiased weights among non-negative ones: estimates whose weight would be negative
    are left out, the worst first. Negative weights bet on a covariance that is only estimated.
    """
    influence = np.stack([e.influence for e in estimates])
    covariance = influence @ influence.T
    kept = np.arange(len(estimates))
    weights = np.zeros(len(estimates))
    while True:
        best = _best(covariance[np.ix_(kept, kept)], ridge)
        if (best >= 0).all():
            weights[kept] = best
            return weights
        kept = np.delete(kept, np.argmin(best))


def _best(covariance: Float64, ridge: float) -> Float64:
    """Weights of the least variance that sum to 1."""
    count = len(covariance)
    level = float(np.trace(covariance)) / count
    if level <= 0:
        return np.full(count, 1.0 / count)
    ridged = covariance + ridge * level * np.eye(count)
    raw = np.linalg.solve(ridged, np.ones(count))
    return np.asarray(raw / raw.sum())


def blend(estimates: Sequence[Linear], ridge: float = _RIDGE) -> Linear | None:
    """The combined estimate; None without estimates.

    Estimates of different logging policies' rows share no user: with a ridge of 0 their weights are
    the inverse variances (the weighted estimator of Agarwal et al., KDD 2017).

    Its influence is the weighted sum of influences, so the correlation is in the interval. Weights
    chosen on the same data make that interval slightly short: influences grow by the degrees of
    freedom that the weights took.
    """
    if not estimates:
        return None
    weights = blend_weights(estimates, ridge)
    total = estimates[0].scaled(float(weights[0]))
    for weight, estimate in zip(weights[1:], estimates[1:], strict=True):
        total = total + estimate.scaled(float(weight))
    users = degrees_of_freedom(total.influence, int(total.contributes.sum())) + 1.0
    taken = len(estimates) - 1.0
    inflation = float(np.sqrt(users / max(users - taken, 1.0)))
    return Linear(total.value, total.influence * inflation, total.contributes)
