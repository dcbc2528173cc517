"""Take the lift of a product of factors apart into contributions that add up to it.

The metric of a user-day is a product of ratios of sums, as

    sessions x (videos / sessions) x (opens / videos) x (time / opens),

whose product is the last sum. With ``m_k`` the mean of the k-th sum in each arm and ``m_0 = 1``,
the log lift of the metric is the sum over k of

    l_k = log(m_k / m_{k-1})_treatment - log(m_k / m_{k-1})_control.

The contribution of factor k to the relative lift R - 1 is ``w l_k``, w = (R - 1) / log R, the
logarithmic mean: contributions add up to R - 1 without a rest, and none depends on the order of the
factors' names (LMDI-I: Ang, Energy Policy 32, 2004). Variances of l_k: delta method, from the
covariance of all means; the interval of a contribution takes w as known.

Means are adjusted for covariates as the metric itself is (one theta per sum, common to the arms),
so the product of the adjusted factors is the adjusted metric, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import regression_weights
from reports.statistics.lift import Interval
from reports.statistics.moments import Float, Moments


class FactorEstimate(NamedTuple):
    """One factor.

    Attributes:
        relative: Its relative lift.
        contribution: Its part of the metric's relative lift.
    """

    relative: Interval
    contribution: Interval


class ProductLift(NamedTuple):
    """The metric and its factors.

    Attributes:
        lift: Relative lift of the product.
        factors: First to last.
    """

    lift: float
    factors: list[FactorEstimate]


class Means(NamedTuple):
    """Means of the sums in both arms, control first.

    Attributes:
        mean: float64[2, k].
        covariance: float64[2k, 2k], sampling covariance of ``mean.ravel()``.
    """

    mean: Float
    covariance: Float


def adjusted_means(arms: Sequence[Moments], sums: int) -> Means:
    """Means of independent arms after covariate adjustment.

    Args:
        arms: Control and treatment: moments of the columns (sum, ..., sum, covariate, ...).
        sums: k, how many columns are sums.

    Raises:
        StatisticsError: fewer than two users in an arm.
    """
    width = len(arms[0].mean) - sums
    cc = np.sum([arm.cross[sums:, sums:] for arm in arms], axis=0)
    cy = np.sum([arm.cross[sums:, :sums] for arm in arms], axis=0)
    theta = np.array([regression_weights(cc, cy[:, k]) for k in range(sums)])
    theta = theta.reshape(sums, width)
    total = sum(arm.users for arm in arms)
    centre = np.sum([arm.mean[sums:] * arm.users for arm in arms], axis=0) / total
    mean = np.array([arm.mean[:sums] - theta @ (arm.mean[sums:] - centre) for arm in arms])
    # Influence of a user on the means of both arms, as in `adjustment.adjusted_estimates`.
    direction = np.concatenate([np.eye(sums), -theta], axis=1)
    shared = np.concatenate([np.zeros((sums, sums)), theta], axis=1) / total
    covariance = np.zeros((2 * sums, 2 * sums))
    for number, arm in enumerate(arms):
        weights = np.concatenate([shared, shared])
        weights[number * sums : (number + 1) * sums] += direction / arm.users
        covariance += arm.users * weights @ arm.covariance() @ weights.T
    return Means(mean, covariance)


def paired_means(both: Moments) -> Means:
    """Means of the same users in both arms.

    Args:
        both: Moments of the control's sums followed by the treatment's, a row per user.

    Raises:
        StatisticsError: fewer than two users.
    """
    return Means(both.mean.reshape(2, -1), both.covariance() / both.users)


def product_lift(means: Means, *, confidence: float = 0.95) -> ProductLift:
    """The relative lift of the last sum, factor by factor.

    Args:
        means: Of the sums, first to last.
        confidence: Of the intervals.

    Raises:
        StatisticsError: a mean that is not above zero: it has no logarithm.
    """
    mean = means.mean
    if not (mean > 0.0).all():
        raise StatisticsError(
            "a factor is zero.", f"Means {mean.min():g} and more.", "Take fewer factors."
        )
    sums = mean.shape[1]
    logs = np.log(mean[1]) - np.log(mean[0])
    steps = np.eye(sums) - np.eye(sums, k=-1)
    whole = float(logs[-1])
    weight = math.expm1(whole) / whole if whole else 1.0
    # Of the log lifts of the factors with respect to the means of both arms.
    gradient = np.concatenate([-steps / mean[0], steps / mean[1]], axis=1)
    errors = np.sqrt(np.maximum(np.diag(gradient @ means.covariance @ gradient.T), 0.0))
    critical = float(stats.norm.isf((1.0 - confidence) / 2.0))
    found = []
    for log, error in zip((steps @ logs).tolist(), errors.tolist(), strict=True):
        ends = (log, log - critical * error, log + critical * error)
        found.append(
            FactorEstimate(
                Interval(*(math.expm1(end) for end in ends)),
                Interval(*(weight * end for end in ends)),
            )
        )
    return ProductLift(math.expm1(whole), found)
