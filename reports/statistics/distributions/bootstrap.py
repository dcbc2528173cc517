"""Compute bootstrap intervals of smooth functions of the arms' means, by user.

Percentile intervals are quantiles of the resampled statistic; studentised ones are quantiles of
(resampled - observed) / its own standard error, and more exact for skewed metrics (Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, chapters 12 and 13). Both use order statistics,
and the p value counts the very same ones: it is below alpha exactly if the interval excludes the
null value. Assumption: users enough for the resampled statistic to be finite, and smooth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from reports.statistics.distributions.poisson_weights import Replicates
from reports.statistics.errors import StatisticsError
from reports.statistics.lift import Interval
from reports.statistics.moments import Float

# Takes the means of every arm, float64[..., k], and returns float64[...].
Statistic = Callable[..., Float]


class BootstrapResult(NamedTuple):
    """A statistic and what resampling says of it.

    Attributes:
        interval: Observed value and bounds.
        p_value: Two-sided, of the null value; at least 2 / (resamples + 1).
        standard_error: Standard deviation of the resampled statistic.
        resamples: How many.
    """

    interval: Interval
    p_value: float
    standard_error: float
    resamples: int


def mean_difference(control: Float, treatment: Float) -> Float:
    """Treatment minus control of the first column's mean."""
    return np.asarray(treatment[..., 0] - control[..., 0])


def mean_lift(control: Float, treatment: Float) -> Float:
    """Relative lift of the first column's mean."""
    return np.asarray(treatment[..., 0] / control[..., 0] - 1.0)


def ratio_difference(control: Float, treatment: Float) -> Float:
    """Treatment minus control of the first column's sum over the second's."""
    return np.asarray(treatment[..., 0] / treatment[..., 1] - control[..., 0] / control[..., 1])


def ratio_lift(control: Float, treatment: Float) -> Float:
    """Relative lift of the first column's sum over the second's."""
    return np.asarray(
        treatment[..., 0] / treatment[..., 1] * control[..., 1] / control[..., 0] - 1.0
    )


def bootstrap(
    statistic: Statistic,
    arms: Sequence[Replicates],
    *,
    method: Literal["percentile", "studentised"] = "percentile",
    confidence: float = 0.95,
    null: float = 0.0,
) -> BootstrapResult:
    """Interval and p value of a statistic of one or more arms.

    Args:
        statistic: Of the means of the arms, in their order; vectorised over leading axes.
        arms: Resamples of each arm, all with the same number and from different streams.
        method: Of the interval.
        confidence: Of the interval.
        null: Value that the p value tests.

    Raises:
        StatisticsError: too few resamples for the confidence, or a statistic that is not finite.
    """
    resamples = len(arms[0].users)
    if any(len(arm.users) != resamples for arm in arms):
        raise StatisticsError(
            "the arms have different numbers of resamples.",
            f"{[len(arm.users) for arm in arms]}.",
        )
    # Ties of p value and alpha are no rejection, whatever the rounding of 1 - confidence.
    rank = int(np.ceil((resamples + 1) * (1.0 - confidence) / 2.0 - 1e-9)) - 1
    if rank < 1:
        raise StatisticsError(
            "there are too few resamples.",
            f"{resamples} cannot give a confidence of {confidence:g}.",
            f"Use at least {int(np.ceil(2.0 / (1.0 - confidence) - 1e-6))}.",
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(*[arm.observed.mean for arm in arms]))
        drawn = np.asarray(statistic(*[arm.mean for arm in arms]), dtype=np.float64)
    empty = np.any([arm.users <= 0.0 for arm in arms], axis=0)
    _finite(np.where(empty, np.nan, drawn), value)
    spread = float(drawn.std(ddof=1))
    if not spread > 0.0:
        raise StatisticsError("the statistic does not vary.", "All resamples have the same value.")
    if method == "percentile":
        ordered = np.sort(drawn)
        low, high = ordered[rank - 1], ordered[resamples - rank]
        tails = (drawn <= null).sum(), (drawn >= null).sum()
    else:
        error = float(
            _delta_error(statistic, [a.observed.mean for a in arms], [_spread(a) for a in arms])
        )
        errors = _delta_error(statistic, [a.mean for a in arms], [_spreads(a) for a in arms])
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (drawn - value) / errors
        _finite(t, value)
        ordered = np.sort(t)
        low = value - ordered[resamples - rank] * error
        high = value - ordered[rank - 1] * error
        seen = (value - null) / error
        tails = (t >= seen).sum(), (t <= seen).sum()
    p_value = min(1.0, 2.0 * (1.0 + float(min(tails))) / (resamples + 1.0))
    return BootstrapResult(Interval(value, float(low), float(high)), p_value, spread, resamples)


def _spread(arm: Replicates) -> Float:
    """float64[k, k], covariance of the observed means."""
    return arm.observed.covariance() / arm.observed.users


def _spreads(arm: Replicates) -> Float:
    """float64[B, k, k], covariance of the means, as each resample sees it."""
    users = arm.users[:, None, None]
    return arm.cross / (users * np.maximum(users - 1.0, 1.0))


def _delta_error(statistic: Statistic, means: list[Float], spreads: list[Float]) -> Float:
    """Standard error by the delta method, with numerical derivatives; over leading axes."""
    variance: Float = np.zeros(means[0].shape[:-1])
    for arm, (mean, spread) in enumerate(zip(means, spreads, strict=True)):
        gradient = np.zeros_like(mean)
        for column in range(mean.shape[-1]):
            # A hundredth of a standard error: curvature adds 1e-4 of its effect, rounding less.
            step = 0.01 * np.sqrt(spread[..., column, column])
            moved = []
            for sign in (1.0, -1.0):
                point = mean.copy()
                point[..., column] += sign * step
                with np.errstate(divide="ignore", invalid="ignore"):
                    moved.append(statistic(*means[:arm], point, *means[arm + 1 :]))
            # A column that does not vary adds no variance.
            np.divide(moved[0] - moved[1], 2.0 * step, out=gradient[..., column], where=step > 0.0)
        variance = variance + np.einsum("...i,...ij,...j->...", gradient, spread, gradient)
    return np.sqrt(variance)


def _finite(drawn: Float, value: float) -> None:
    bad = int((~np.isfinite(drawn)).sum())
    if bad or not np.isfinite(value):
        raise StatisticsError(
            "the statistic is not finite.",
            f"In {bad:,} of {len(drawn):,} resamples.",
            "The arm is too small, or a denominator too often zero.",
        )
