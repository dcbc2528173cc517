"""Compute empirical-likelihood intervals: the conservative choice beside Student's.

The bounds are where the likelihood ratio of users' values with mean zero reaches Student's squared
quantile (Owen, Biometrika 1988). One pseudo-user opposite to the mean makes it exist everywhere
(Chen, Variyath & Abraham, JCGS 2008). The interval follows the skewness of the data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import t as student

from simulator.replay.estimators.intervals import LEVEL, Estimate
from simulator.replay.estimators.linear import Float64, Linear

_FARTHEST = 200.0
"""Standard errors beyond which no bound is looked for."""


def empirical_likelihood(top: Float64, bottom: Float64, level: float = LEVEL) -> Estimate | None:
    """Interval of ``sum(top) / sum(bottom)``: users' values are ``top - theta bottom``.

    It includes the noise of both sums.

    Args:
        top: float64[G], per user.
        bottom: float64[G], per user.
        level: Confidence.
    """
    used = (top != 0) | (bottom != 0)
    top, bottom = top[used], bottom[used]
    total = float(bottom.sum())
    if len(top) < 3 or total <= 0:
        return None
    value = float(top.sum()) / total
    error = float(np.sqrt(((top - value * bottom) ** 2).sum())) / total
    return _interval(lambda theta: top - theta * bottom, value, error, len(top), level)


def likelihood_of(linear: Linear, level: float = LEVEL) -> Estimate | None:
    """Interval of any linearised estimate, such as the difference of two policies.

    A user's values are jackknife pseudo-values, ``(value - theta) / G + influence`` (Jing, Yuan &
    Zhou, JASA 2009).
    """
    influence = linear.influence[linear.contributes]
    n = len(influence)
    return _interval(
        lambda theta: (linear.value - theta) / n + influence,
        linear.value,
        linear.standard_error,
        n,
        level,
    )


def likelihood_lift(treatment: Linear, control: Linear, level: float = LEVEL) -> Estimate | None:
    """Interval of ``treatment / control - 1``, paired by user, from the same pseudo-values.

    It holds the ratios R for which ``treatment - R control`` may be zero.
    """
    if control.value <= 0:
        return None
    used = treatment.contributes | control.contributes
    first, second, n = treatment.influence[used], control.influence[used], int(used.sum())
    ratio = treatment.value / control.value
    error = float(np.sqrt(((first - ratio * second) ** 2).sum())) / control.value

    def values(lift: float) -> Float64:
        times = 1.0 + lift
        return (treatment.value - times * control.value) / n + first - times * second

    return _interval(values, ratio - 1.0, error, n, level)


def likelihood_p_value(linear: Linear) -> float | None:
    """Two-sided, of a true value of 0: below 5 % exactly if `likelihood_of` leaves out 0."""
    influence = linear.influence[linear.contributes]
    n = len(influence)
    if n < 3 or linear.standard_error == 0.0:
        return None
    statistic = float(np.sqrt(likelihood_ratio(linear.value / n + influence)))
    return float(2.0 * student.sf(statistic, n - 1))


def wider(plain: Estimate | None, other: Estimate | None) -> Estimate | None:
    """The first estimate with the farther one of both bounds on either side."""
    if plain is None or other is None:
        return plain
    low = None if plain.low is None or other.low is None else min(plain.low, other.low)
    high = None if plain.high is None or other.high is None else max(plain.high, other.high)
    return Estimate(plain.value, plain.standard_error, low, high)


def _interval(
    values: Callable[[float], Float64], value: float, error: float, users: int, level: float
) -> Estimate | None:
    if users < 3 or not error > 0.0:
        return None
    limit = float(student.ppf(0.5 + level / 2, users - 1)) ** 2
    low, high = (_bound(values, value, side * error, limit) for side in (-1.0, 1.0))
    return Estimate(value, error, low, high)


def _bound(
    values: Callable[[float], Float64], value: float, step: float, limit: float
) -> float | None:
    def excess(at: float) -> float:
        # Infinity would not let a root be found between two points.
        return min(likelihood_ratio(values(at)), 1e6) - limit

    if not excess(value) < 0.0:
        # All users have one value, up to rounding.
        return value
    inside, reach = value, 1.0
    outside = value + step
    while excess(outside) < 0.0:
        inside, reach = outside, reach * 1.6
        outside = value + step * reach
        if reach > _FARTHEST:
            return None
    return float(brentq(excess, *sorted((inside, outside)), xtol=1e-10 * abs(step)))


def likelihood_ratio(residual: Float64) -> float:
    """-2 log of the adjusted empirical likelihood ratio of mean zero.

    Args:
        residual: float64[G], per user.
    """
    n = len(residual)
    level = max(1.0, float(np.log(n)) / 2.0)
    values: NDArray[np.float64] = np.append(residual, -level * residual.mean())
    scale = float(np.abs(values).max())
    if scale == 0:
        return 0.0
    values = values / scale
    # Each 1 + multiplier * value must be positive: that brackets the multiplier.
    least, most = float(values.min()), float(values.max())
    if least >= 0 or most <= 0:
        return float("inf")
    low, high = -1.0 / most + 1e-12, -1.0 / least - 1e-12

    def slope(multiplier: float) -> float:
        return float((values / (1.0 + multiplier * values)).sum())

    if slope(low) <= 0.0 or slope(high) >= 0.0:
        return float("inf")
    multiplier = float(brentq(slope, low, high, xtol=1e-13))
    return max(float(2.0 * np.log1p(multiplier * values).sum()), 0.0)
