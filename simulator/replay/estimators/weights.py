"""Transform importance weights: clip, switch, shrink, smooth, mix logging policies.

Each function maps ``w = target / logging`` to a smaller weight. All trade bias for variance; the
bias of a doubly robust estimate shrinks with the error of its reward model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def clipped(weight: Float64, limit: float) -> Float64:
    """``min(w, limit)`` (Ionides, JCGS 2008). ``limit`` is above 0; infinity changes nothing."""
    _positive("limit", limit)
    return np.minimum(weight, limit)


def switched(weight: Float64, limit: float) -> Float64:
    """``w`` up to the limit, 0 above (SWITCH; Wang, Agarwal & Dudik, ICML 2017).

    With a reward model, rows above the limit are answered by the model alone.
    """
    _positive("limit", limit)
    return np.where(weight <= limit, weight, 0.0)


def shrunk(weight: Float64, strength: float) -> Float64:
    """``strength * w / (w^2 + strength)`` (optimistic shrinkage; Su et al., ICML 2020).

    0 gives the direct method, infinity the unchanged weight.
    """
    if strength < 0:
        raise ValueError(f"strength is {strength}, expected 0 or more")
    if np.isinf(strength):
        return weight
    if strength == 0:
        return np.zeros_like(weight)
    return np.asarray(strength * weight / (weight**2 + strength))


def sub_gaussian(weight: Float64, smoothing: float) -> Float64:
    """``w / (1 - smoothing + smoothing * w)`` (Metelli, Russo & Restelli, NeurIPS 2021).

    The harmonic mean of ``w`` and 1: bounded by ``1 / smoothing``, with sub-Gaussian tails.
    """
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"smoothing is {smoothing}, expected 0 up to but not 1")
    return np.asarray(weight / (1.0 - smoothing + smoothing * weight))


def implicit_exploration(target: Float64, logging: Float64, floor: float) -> Float64:
    """``target / (logging + floor)`` (Gabbianelli, Neu & Papini, ALT 2024)."""
    if floor < 0:
        raise ValueError(f"floor is {floor}, expected 0 or more")
    return np.asarray(target / (logging + floor))


def mixed(target: Float64, logging: Float64, share: Float64) -> Float64:
    """Weights over the mixture of several logging policies ("balanced"; Agarwal et al., KDD 2017).

    A row counts as drawn from the mixture, whichever policy wrote it. The weight never exceeds
    ``1 / share`` of any policy equal to the target, and its variance is at most that of weights
    over the row's own policy.

    Args:
        target: float64[N], target probability of the logged action.
        logging: float64[N, K], probability of the logged action under each logging policy.
        share: float64[K], share of the rows that each policy wrote; sums to 1.
    """
    if not np.isclose(share.sum(), 1.0):
        raise ValueError(f"shares of the logging policies sum to {share.sum():g}, expected 1")
    return np.asarray(target / (logging @ share))


def more_robust(target: Float64, logging: Float64) -> Float64:
    """Weights for fitting the reward model of MRDR (Farajtabar, Chow & Ghavamzadeh, ICML 2018).

    Given a context, the variance that a reward model's error ``d`` leaves in the doubly robust
    estimate is ``sum_a d_a^2 target_a^2 / logging_a - (sum_a target_a d_a)^2``. The diagonal of
    this form, sampled from the log, weighs a row by ``target^2 (1 - logging) / logging^2``; for a
    deterministic target the diagonal is the whole form.

    Args:
        target: float64[N], target probability of the logged action.
        logging: float64[N], in (0, 1].
    """
    return np.asarray(target**2 * (1.0 - logging) / logging**2)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} is {value}, expected a number above 0")
