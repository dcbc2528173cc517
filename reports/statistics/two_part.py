"""Decompose a lift into the share of active users and the mean of those users.

A mean is the share of users with a positive value times the mean of those users,

    E x = P(x > 0) * E[x | x > 0],

so its log lift is the sum of two, exactly. The second factor is a ratio metric, ``sum x / sum
[x > 0]``, with delta-method variance. In each arm the two factors are uncorrelated (the residuals
of ``x`` given ``[x > 0]`` sum to zero over the positive users, and are zero for the others), so the
variances of the logs add up exactly as well (Duan, Manning, Morris & Newhouse, Journal of Business
& Economic Statistics 1, 1983, on two-part models; the decomposition needs no model).

Caution: only the whole is a causal effect on the same people. A treatment that brings in light
users lowers the mean per positive user, though nobody watches less.

Assumptions: users are independent; positive users enough for their mean to be nearly normal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import Comparison, Interval, compare
from reports.statistics.moments import Moments
from reports.statistics.relative import LogLift, log_lift

VALUE, POSITIVE = 0, 1


class Part(NamedTuple):
    """The metric or one of its two factors.

    Attributes:
        control: In the control arm.
        treatment: In the treatment arm.
        comparison: Difference, and lift by Fieller's interval.
        logs: Lift on the log scale; the one that adds up.
    """

    control: ArmEstimate
    treatment: ArmEstimate
    comparison: Comparison
    logs: LogLift


class TwoPart(NamedTuple):
    """A metric and its two factors.

    Attributes:
        share: Of users with a positive value.
        intensity: Mean per user with a positive value.
        total: Mean per user: share times intensity.
        from_share: Share of the total log lift that comes from ``share``, by Fieller's interval;
            the rest comes from ``intensity``. It may be below 0 or above 1, if the two pull
            apart. No bounds if the total may be zero.
    """

    share: Part
    intensity: Part
    total: Part
    from_share: Interval


def two_part_moments(values: ArrayLike) -> Moments:
    """Moments of one arm, for ``two_part``; they merge.

    Args:
        values: float[n], one per user, none negative.

    Raises:
        StatisticsError: missing or negative values.
    """
    x = np.asarray(values, dtype=np.float64)
    if (x < 0.0).any():
        raise StatisticsError(
            "a value below zero has no two parts.", f"{int((x < 0.0).sum()):,} of {len(x):,} are."
        )
    return Moments.of(np.column_stack([x, x > 0.0]))


def two_part(control: Moments, treatment: Moments, *, confidence: float = 0.95) -> TwoPart:
    """Decompose the lift of a mean.

    Args:
        control: Of the columns (value, 1 if positive), from ``two_part_moments``.
        treatment: Likewise.
        confidence: Of every interval.

    Raises:
        StatisticsError: no positive user in an arm, or a factor that does not vary (named).
    """
    arms = (control, treatment)
    for moments in arms:
        if moments.mean[POSITIVE] == 0.0:
            raise StatisticsError(
                "the lift has no two parts.", "In one arm nobody has a positive value."
            )
    share = _part("share", [_mean(m, POSITIVE) for m in arms], confidence)
    intensity = _part("intensity", estimate_arms(arms), confidence)
    total = _part("total", [_mean(m, VALUE) for m in arms], confidence)
    return TwoPart(share, intensity, total, _contribution(share, total, confidence))


def _mean(moments: Moments, column: int) -> ArmEstimate:
    value = float(moments.mean[column])
    variance = float(moments.covariance()[column, column]) / moments.users
    return ArmEstimate(moments.users, value, value, variance, variance)


def _part(name: str, arms: list[ArmEstimate], confidence: float) -> Part:
    control, treatment = arms
    try:
        # What rounding leaves of the variance of a ratio of equal values.
        if all(arm.variance * arm.users < 1e-13 * arm.value**2 for arm in arms):
            raise StatisticsError("the metric does not vary.", "All values are the same.")
        return Part(
            control,
            treatment,
            compare(control, treatment, confidence=confidence),
            log_lift(control, treatment, confidence=confidence),
        )
    except StatisticsError as error:
        raise StatisticsError(
            f"{name} of the two-part lift: {error.problem}",
            error.detail,
            "Compare the means alone." if name == "share" else "Compare the shares alone.",
        ) from error


def _contribution(share: Part, total: Part, confidence: float) -> Interval:
    """``S / (S + I)`` for uncorrelated logs S and I: their covariance is the variance of S."""
    users = share.control.users + share.treatment.users - 1
    logs = [
        ArmEstimate(users, p.logs.log.value, p.logs.log.value, *2 * (p.logs.standard_error**2,))
        for p in (total, share)
    ]
    ratio = compare(*logs, confidence=confidence, covariance=logs[1].variance, paired=True).relative
    if ratio is None:
        raise StatisticsError("the lift has no parts.", "The means of both arms are equal.")
    low, high = (None if x is None else x + 1.0 for x in ratio[1:])
    return Interval(ratio.value + 1.0, low, high)
