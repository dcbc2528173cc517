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
    if skew == 0.0:
        return quantile
    part = skew * (quantile - skew / 6)
    # Where the cube root is near 1 its difference from 1 would lose digits.
    root = float(np.expm1(np.log1p(part) / 3) if abs(part) < 0.5 else np.cbrt(1 + part) - 1)
    return 3 * root / skew
