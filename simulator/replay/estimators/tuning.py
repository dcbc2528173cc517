"""Choose a tuning parameter by SLOPE: the least variance whose bias the data cannot see.

Su, Srinath & Krishnamurthy, ICML 2020. Candidates are ordered from least bias to least variance.
Each has an interval ``value +- 2 * half width``; the last candidate whose interval meets those of
all candidates before it is taken. Nothing is kept between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from simulator.replay.estimators.intervals import critical
from simulator.replay.estimators.linear import Float64, Linear

Estimator = Callable[[float], Linear | None]


class Tuned(NamedTuple):
    """The chosen parameter and its estimate."""

    parameter: float
    linear: Linear


def slope(estimator: Estimator, parameters: Sequence[float]) -> Tuned | None:
    """Pick a parameter.

    Args:
        estimator: Gives an estimate per parameter.
        parameters: From least bias to least variance.

    Returns:
        None where no parameter gives an estimate.
    """
    low, high = -np.inf, np.inf
    chosen: Tuned | None = None
    narrowest = np.inf
    for parameter in parameters:
        linear = estimator(parameter)
        if linear is None:
            continue
        # The method asks for widths that only fall; noise in a width is taken out.
        half = min(critical(linear) * linear.standard_error, narrowest)
        narrowest = half
        low, high = max(low, linear.value - 2 * half), min(high, linear.value + 2 * half)
        if low > high:
            break
        chosen = Tuned(parameter, linear)
    return chosen


def limits(weight: Float64, count: int = 8) -> list[float]:
    """Limits for clipping and switching: none, then upper quantiles of the weights above 0."""
    some = weight[weight > 0]
    if len(some) == 0:
        return [float("inf")]
    quantiles = np.quantile(some, 1.0 - 0.5 ** np.arange(count, 0, -1))[::-1]
    values = sorted({float(q) for q in quantiles if q > 0}, reverse=True)
    return [float("inf"), *values]


def strengths(weight: Float64, count: int = 8) -> list[float]:
    """Strengths of optimistic shrinkage: none, then down to the square of a typical weight."""
    return [float("inf"), *[float(x**2) for x in limits(weight, count)[1:]]]


def smoothings(count: int = 8) -> list[float]:
    """Smoothings of sub-Gaussian weights: 0, then up to 1/2 by factors of two."""
    return [0.0, *[float(0.5**k) for k in range(count, 0, -1)]]


def floors(logging: Float64, count: int = 8) -> list[float]:
    """Floors of implicit exploration: 0, then lower quantiles of the logging probabilities."""
    quantiles = np.quantile(logging, 0.5 ** np.arange(count, 0, -1))
    return [0.0, *sorted({float(q) for q in quantiles})]
