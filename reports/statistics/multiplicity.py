"""Several comparisons at once: adjusted p values, and intervals that agree with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(m)
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, (m - position) * p_values[index])
        adjusted[index] = min(running, 1.0)
    return adjusted.tolist()


def adjusted_confidence(
    p_value: float, p_adjusted: float, family: int, confidence: float = 0.95
) -> float:
    """The level at which an unadjusted interval agrees with the adjusted p value.

    At ``1 - alpha * p / p_adjusted`` the interval excludes zero exactly if p_adjusted < alpha.
    """
    if family <= 1 or p_adjusted <= 0.0:
        return 1.0 - (1.0 - confidence) / max(family, 1)
    return 1.0 - (1.0 - confidence) * p_value / p_adjusted
