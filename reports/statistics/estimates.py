"""Estimate a mean or a ratio per arm, with or without covariates.

A ratio metric is sum(x) / sum(y) over users; a mean has y = 1. Its influence function is
``z = (x - R y) / mean(y)`` (delta method; Deng, Knoblich & Lu, KDD 2018), so that users, not
impressions, are the units. Covariates from before the experiment are removed by
``z - theta'(c - mean(c))`` with theta estimated from both arms together (CUPED: Deng, Xu,
Kohavi & Walker, WSDM 2013; for ratios: the same on the linearised metric).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float, Moments

NUMERATOR, DENOMINATOR = 0, 1


class ArmEstimate(NamedTuple):
    """One metric in one arm.

    Attributes:
        users: Number of users.
        value: The metric as it is.
        adjusted: The metric after covariate adjustment; equals ``value`` without covariates.
        variance: Sampling variance of ``adjusted``.
        raw_variance: Sampling variance of ``value``.
    """

    users: int
    value: float
    adjusted: float
    variance: float
    raw_variance: float


def estimate_arms(arms: Sequence[Moments]) -> list[ArmEstimate]:
    """Estimates of all arms of one metric, with a common covariate adjustment.

    Args:
        arms: Moments of the columns (numerator, denominator, covariate, covariate, ...) per arm;
            for a mean the denominator is the constant 1.

    Raises:
        StatisticsError: fewer than two users in an arm, or a denominator that sums to zero.
    """
    theta = adjustment(arms)
    total = sum(m.users for m in arms)
    centre = sum((m.mean[2:] * m.users for m in arms), np.zeros(len(theta))) / total
    result = []
    for moments in arms:
        gradient = ratio_gradient(moments.mean)
        covariance = moments.covariance()
        raw = float(gradient @ covariance[:2, :2] @ gradient) / moments.users
        full = np.concatenate([gradient, -theta])
        variance = float(full @ covariance @ full) / moments.users
        if raw * moments.users <= rounding_variance(moments.mean, covariance, gradient):
            raw = variance = 0.0
        value = float(moments.mean[NUMERATOR] / moments.mean[DENOMINATOR])
        adjusted = value - float(theta @ (moments.mean[2:] - centre))
        result.append(
            ArmEstimate(moments.users, value, adjusted, max(variance, 0.0), max(raw, 0.0))
        )
    return result


def rounding_variance(mean: Float, covariance: Float, gradient: Float) -> float:
    """The variance that rounding alone may give the linearised metric of one user.

    A value x is known to about eps |x|, so a column that does not vary may seem to with a variance
    of (eps x)^2; the terms of a constant ratio cancel to some hundred eps of their product.
    Both are far below any real variance, however far the values are from zero.

    Args:
        mean: float64[k], of the columns (numerator, denominator, ...).
        covariance: float64[k, k], of the same.
        gradient: float64[2], of the metric.
    """
    eps = float(np.finfo(np.float64).eps)
    terms = np.abs(gradient * mean[:2])
    spread = np.abs(gradient) * np.sqrt(np.diag(covariance)[:2])
    return float((4.0 * eps * terms.sum()) ** 2 + 256.0 * eps * spread[0] * spread[1])


def adjustment(arms: Sequence[Moments]) -> Float:
    """theta: regression of the linearised metric on the covariates, within arms, pooled.

    Covariates that do not vary, or only together with others, get no weight.
    """
    k = len(arms[0].mean) - 2
    if k == 0:
        return np.zeros(0)
    cc = np.zeros((k, k))
    cz = np.zeros(k)
    for moments in arms:
        gradient = ratio_gradient(moments.mean)
        cc += moments.cross[2:, 2:]
        cz += moments.cross[2:, :2] @ gradient
    return regression_weights(cc, cz)


def regression_weights(cc: Float, cz: Float) -> Float:
    """float64[k], regression on covariates with cross-products ``cc``, ``cz`` with the metric.

    Covariates that do not vary, or only together with others, get no weight.
    """
    if len(cz) == 0:
        return np.zeros(0)
    scale = np.sqrt(np.diag(cc))
    scale = np.where(scale > 0, scale, 1.0)
    # The pseudo-inverse of the correlation matrix drops collinear directions.
    inverse = np.linalg.pinv(cc / np.outer(scale, scale), rcond=1e-10, hermitian=True)
    return np.asarray((inverse @ (cz / scale)) / scale)


def ratio_gradient(mean: Float) -> Float:
    """float64[2], of the ratio of means with respect to (mean x, mean y).

    Args:
        mean: Means of (x, y, ...).

    Raises:
        StatisticsError: mean y is zero.
    """
    x, y = mean[NUMERATOR], mean[DENOMINATOR]
    if y == 0.0:
        raise StatisticsError(
            "the ratio has no denominator.",
            "It sums to zero in at least one arm.",
            "Choose a metric whose denominator occurs.",
        )
    return np.array([1.0 / y, -x / y**2])
