"""Spend the error rate of a test over the planned information.

One side of a test with error rate alpha has spent f(t) of it by information fraction t, with
f(0) = 0 and f(1) = alpha; looks may then fall at any t (Lan & DeMets, Biometrika 70, 1983).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from reports.statistics.moments import Float

Spending = Callable[[Float, float], Float]


def obrien_fleming(fraction: Float, alpha: float) -> Float:
    """``2 - 2 Phi(z_(alpha/2) / sqrt(t))``: hardly anything early (Lan & DeMets 1983)."""
    return np.asarray(2.0 * special.ndtr(special.ndtri(alpha / 2.0) / np.sqrt(_clipped(fraction))))


def pocock(fraction: Float, alpha: float) -> Float:
    """``alpha log(1 + (e - 1) t)``: nearly equal boundaries at all looks (Lan & DeMets 1983)."""
    return np.asarray(alpha * np.log1p((np.e - 1.0) * _clipped(fraction)))


def power_family(exponent: float) -> Spending:
    """``alpha t^exponent`` (Kim & DeMets, Biometrika 74, 1987)."""

    def spend(fraction: Float, alpha: float) -> Float:
        return np.asarray(alpha * _clipped(fraction) ** exponent)

    return spend


def _clipped(fraction: Float) -> Float:
    # More information than planned cannot spend more than alpha.
    return np.clip(np.asarray(fraction, dtype=np.float64), 0.0, 1.0)
