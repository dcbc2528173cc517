"""Remove skewness from a t statistic (Hall's transformation).

Let T be an estimate less its true value, over its standard error, and rho the skewness of the
estimate (``tails``). The tails of T beyond -z and z differ by terms of the order rho. They are of
order rho^2 for Hall's transformation

    g(T) = T + rho T^2 / 3 + rho^2 T^3 / 27 + rho / 6

(Hall, JRSS B 54, 1992, with ``skewness / sqrt(n)`` of one sample replaced by the rho of two). It
rises everywhere, being ``((1 + rho T / 3)^3 - 1) / rho + rho / 6``, so tests and intervals of g(T)
agree as those of T do, and without skewness it is T itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from reports.statistics.estimates import ArmEstimate
from reports.statistics.moments import Float

Cumulants = tuple[float, float]
"""Third cumulants of the estimates of control and treatment (``tails.third_cumulants``)."""

NORMAL: Cumulants = (0.0, 0.0)

# Doublings after which a bound that is not found does not exist.
_DOUBLINGS = 200


def hall(t: ArrayLike, rho: ArrayLike) -> Float:
    """g(T), nearly normal."""
    t, rho = np.asarray(t, dtype=np.float64), np.asarray(rho, dtype=np.float64)
    return np.asarray(t + rho * t**2 / 3.0 + rho**2 * t**3 / 27.0 + rho / 6.0)


def hall_inverse(z: float, rho: float) -> float:
    """The T whose g is z."""
    u = rho * (z - rho / 6.0)
    if abs(u) < 1e-5:
        # (1 + u)^(1/3) - 1 = u / 3 - u^2 / 9 + 5 u^3 / 81 - ...: no digits lost where u is small.
        return (z - rho / 6.0) * (1.0 - u / 3.0 + 5.0 * u**2 / 27.0)
    return float(3.0 * (np.cbrt(1.0 + u) - 1.0) / rho)


def skewness_of_difference(
    control: ArmEstimate, treatment: ArmEstimate, cumulants: Cumulants, factor: float = 1.0
) -> float:
    """Rho of ``b - factor a``."""
    variance = treatment.variance + factor**2 * control.variance
    return float((cumulants[1] - factor**3 * cumulants[0]) / variance**1.5)


def lift_bounds(
    control: ArmEstimate, treatment: ArmEstimate, cumulants: Cumulants, boundary: float
) -> tuple[float, float] | None:
    """Lifts not rejected: Fieller's interval with g(T) for T; None if it is not bounded.

    All R - 1 for which g of ``b - R a`` over its standard error is between -boundary and boundary.
    """
    a, b = control.adjusted, treatment.adjusted

    def statistic(ratio: float) -> float:
        error = np.sqrt(treatment.variance + ratio**2 * control.variance)
        rho = skewness_of_difference(control, treatment, cumulants, ratio)
        return float(hall((b - ratio * a) / error, rho))

    far = hall(a / np.sqrt(control.variance), cumulants[0] / control.variance**1.5)
    if not abs(far) > boundary:
        return None
    middle = b / a
    step = np.sqrt(control.variance + treatment.variance) / abs(a)
    found = []
    for side in (-1.0, 1.0):
        target = -side * np.sign(a) * boundary

        def gap(ratio: float, target: float = target) -> float:
            return (statistic(ratio) - target) * float(np.sign(target))

        outer = middle
        for k in range(_DOUBLINGS):
            outer = middle + side * step * 2.0**k
            if gap(outer) > 0.0:
                break
        else:
            return None
        if gap(middle) >= 0.0:
            return None
        found.append(float(optimize.brentq(gap, middle, outer, xtol=1e-14, rtol=1e-13)))
    return found[0] - 1.0, found[1] - 1.0
