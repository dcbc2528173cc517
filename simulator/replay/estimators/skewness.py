"""Remove skewness from the statistic of a linearised estimate (Hall's transformation).

Let T be an estimate less its true value, over its standard error, and ``s`` the skewness of the
estimate, ``sum u^3 / (sum u^2)^1.5`` for influences ``u`` of users. The two tails of T differ by
terms of the order ``s``, those of

    g(T) = T + s T^2 / 3 + s^2 T^3 / 27 + s / 6

by terms of the order ``s^2`` (Hall, JRSS B 54, 1992, with ``s`` for ``skewness / sqrt(n)``). g
rises everywhere, so tests and intervals of g(T) agree, and without skewness it is T itself.
"""

from __future__ import annotations

import numpy as np

from simulator.replay.estimators.linear import Float64


def skewness(influence: Float64) -> float:
    """Skewness of the estimate, 0 without any variation. One user holding all of it has 1."""
    error = float(np.sqrt((influence**2).sum()))
    return 0.0 if error == 0.0 else float(((influence / error) ** 3).sum())


def transformed(statistic: float, skew: float) -> float:
    """g(T)."""
    return statistic + skew * statistic**2 / 3 + skew**2 * statistic**3 / 27 + skew / 6


def inverse(quantile: float, skew: float) -> float:
    """The T whose g is the quantile."""
    shift = quantile - skew / 6
    part = skew * shift
    if abs(part) < 1e-5:
        # (1 + x)^(1/3) - 1 = x/3 - x^2/9 + 5 x^3/81: no digits are lost where x is small.
        return shift * (1 - part / 3 + 5 * part**2 / 27)
    return float(3 * (np.cbrt(1 + part) - 1) / skew)
