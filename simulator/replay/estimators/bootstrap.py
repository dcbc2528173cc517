"""Resample users: the bootstrap-t interval of a ratio of sums.

Slower than the intervals of `simulator.replay.estimators.intervals`, and with fewer assumptions:
the quantiles of the statistic are those of resampled users instead of Student's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators.intervals import LEVEL, Estimate
from simulator.replay.estimators.linear import Float64, Linear

_CELLS = 4_000_000
"""Counts in memory at a time: 32 MB."""


def user_bootstrap(
    top: Float64, bottom: Float64, *, draws: int = 2_000, seed: int = 0, level: float = LEVEL
) -> Estimate | None:
    """Interval of ``sum(top) / sum(bottom)``, users drawn with replacement.

    The studentised bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter
    12.5): quantiles of ``(theta* - theta) / se*`` over the draws, times the standard error of the
    users as they are. Both standard errors are those of the linearised ratio.

    Args:
        top: float64[G], sums per user. For `snips` the weighted outcomes; for an estimator that is
            a mean over rows, its terms.
        bottom: float64[G], non-negative: the weights, or the numbers of rows.
        draws: Number of resampled logs.
        seed: Of the draws; the same seed gives the same interval.
        level: Of the interval.

    Returns:
        The estimate; None with fewer than two users that contribute. A bound is missing where half
        a per cent of the draws has no estimate or no spread.
    """
    found = replicates(top, bottom, draws=draws, seed=seed)
    if found is None:
        return None
    values, errors = found
    value, error = _ratio(top.sum(), bottom.sum(), *_squares(top, bottom))
    known = np.isfinite(values) & (errors > 0.0)
    if known.mean() < 0.995:
        return Estimate(float(value), float(error), None, None)
    statistic = (values[known] - value) / errors[known]
    low, high = np.quantile(statistic, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Estimate(
        float(value), float(error), float(value - high * error), float(value - low * error)
    )


def bootstrap_of(
    linear: Linear, *, draws: int = 2_000, seed: int = 0, level: float = LEVEL
) -> Estimate | None:
    """Interval of any linearised estimate, such as the difference of two policies.

    The users that contribute are drawn with their jackknife pseudo-values, as for
    `simulator.replay.estimators.likelihood.likelihood_of`. Arguments as for `user_bootstrap`.
    """
    own = linear.influence[linear.contributes]
    if len(own) < 2:
        return None
    top, part = _parts(linear, linear.contributes), np.full(len(own), 1.0 / len(own))
    return user_bootstrap(top, part, draws=draws, seed=seed, level=level)


def bootstrap_lift(
    treatment: Linear,
    control: Linear,
    *,
    draws: int = 2_000,
    seed: int = 0,
    level: float = LEVEL,
) -> Estimate | None:
    """Interval of ``treatment / control - 1``, paired by user, from pseudo-values.

    Arguments as for `user_bootstrap`. None where the control is not above 0.
    """
    used = treatment.contributes | control.contributes
    n = int(used.sum())
    if control.value <= 0 or n < 2:
        return None
    top, bottom = (_parts(one, used) for one in (treatment, control))
    found = user_bootstrap(top, bottom, draws=draws, seed=seed, level=level)
    if found is None:
        return None
    low, high = (None if bound is None else bound - 1.0 for bound in (found.low, found.high))
    return Estimate(found.value - 1.0, found.standard_error, low, high)


def _parts(linear: Linear, used: NDArray[np.bool_]) -> Float64:
    """Jackknife pseudo-values over the number of users, those of bool[G]; they sum to the value."""
    own = linear.influence[used]
    return np.asarray(linear.value / len(own) + own - own.mean())


def bootstrap_p_value(linear: Linear, *, draws: int = 2_000, seed: int = 0) -> float | None:
    """Two-sided, of a true value of 0: twice the smaller share of draws that are as extreme.

    Never below ``2 / (draws + 1)``. None where `bootstrap_of` has no interval.
    """
    own = linear.influence[linear.contributes]
    if len(own) < 2:
        return None
    top, part = _parts(linear, linear.contributes), np.full(len(own), 1.0 / len(own))
    found = replicates(top, part, draws=draws, seed=seed)
    error = _ratio(top.sum(), part.sum(), *_squares(top, part))[1]
    if found is None or not error > 0.0:
        return None
    values, errors = found
    known = np.isfinite(values) & (errors > 0.0)
    statistic = (values[known] - linear.value) / errors[known]
    observed = linear.value / error
    tails = ((statistic >= observed).sum(), (statistic <= observed).sum())
    return float(min(1.0, 2.0 * (1.0 + min(tails)) / (1.0 + len(statistic))))


def replicates(
    top: Float64, bottom: Float64, *, draws: int, seed: int
) -> tuple[Float64, Float64] | None:
    """Ratios float64[draws] of resampled users, and their standard errors; NaN without weight.

    Users without a share in either sum are drawn too, as one group. Arguments as for
    `user_bootstrap`.
    """
    counts = (top != 0.0) | (bottom != 0.0)
    n, everybody = int(counts.sum()), len(top)
    if n < 2:
        return None
    a, b = top[counts], bottom[counts]
    sums = np.stack([a, b, a * a, a * b, b * b], axis=1)
    chance = np.append(np.full(n, 1.0 / everybody), (everybody - n) / everybody)
    random = np.random.default_rng(seed)
    block = max(1, _CELLS // (n + 1))
    drawn = np.concatenate(
        [
            random.multinomial(everybody, chance, size=min(block, draws - at))[:, :n] @ sums
            for at in range(0, draws, block)
        ]
    )
    return _ratio(*drawn.T)


def _squares(top: Float64, bottom: Float64) -> tuple[np.float64, ...]:
    return (top * top).sum(), (top * bottom).sum(), (bottom * bottom).sum()


def _ratio(a: Any, b: Any, aa: Any, ab: Any, bb: Any) -> tuple[Float64, Float64]:
    """A ratio of sums and its linearised standard error, from sums of squares and products."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(b > 0.0, a / b, np.nan)
        square = np.maximum(aa - 2.0 * value * ab + value**2 * bb, 0.0)
        return value, np.sqrt(square) / b
