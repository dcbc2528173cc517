"""Compute always-valid p values and intervals for two arms.

The p value is 1 / M and the interval holds all effects with M < 1 / alpha, M being the mixture
evidence of ``mixtures``; the relative interval is Fieller's at the same critical value.

Assumptions: exact for normal data of known variance, asymptotic otherwise (Waudby-Smith, Arbour,
Sinha, Kennedy & Ramdas, Annals of Statistics 52, 2024): before the first look each arm needs
users enough for its mean to be nearly normal and its variance to be known. Watch times that are
zero for 40 % of people and log-normal for the others need about 200 in the smaller arm; with looks
from 10 on and a 1:9 split the error rate at 5 % is nearly 6 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate
from reports.statistics.lift import Alternative, Interval, fieller_bounds
from reports.statistics.sequential.mixtures import (
    Mixture,
    always_valid_p_value,
    critical_value,
)


class SequentialComparison(NamedTuple):
    """One look: treatment minus control, valid together with all other looks.

    Attributes:
        users: In both arms.
        absolute: Difference and its interval; one bound is None if the test is one-sided.
        relative: Difference over the control (Fieller's interval at the same critical value);
            None if the control is zero.
        p_value: Of no difference; at most 1 - confidence exactly if the interval excludes zero.
        standard_error: Of the difference at this look.
        critical: Standard errors between the value of this look and its bounds.
        control_too_noisy: No bounded relative interval exists at this look.
    """

    users: int
    absolute: Interval
    relative: Interval | None
    p_value: float
    standard_error: float
    critical: float
    control_too_noisy: bool


class SequentialValue(NamedTuple):
    """One look at one arm: its mean or ratio, valid together with all other looks."""

    users: int
    interval: Interval


def confidence_sequence(
    looks: Sequence[tuple[ArmEstimate, ArmEstimate]],
    mixture: Mixture,
    *,
    confidence: float = 0.95,
    alternative: Alternative = "two-sided",
    running: bool = False,
    covariances: Sequence[float] | None = None,
) -> list[SequentialComparison]:
    """Compare two arms at every look.

    Args:
        looks: Control and treatment, each from all data up to the look, in order.
        mixture: Where the intervals shall be narrowest; chosen before the experiment.
        confidence: That all intervals together contain the effect.
        alternative: "greater" gives lower bounds, "less" upper bounds.
        running: Whether a look also uses what earlier looks excluded (running intersection, and
            the smallest p value so far). Narrower, but only right for an effect that does not
            change; without it each look speaks of the average effect so far.
        covariances: Between the two estimates, one per look; none if None. Adjusted and paired
            estimates have them.

    Raises:
        StatisticsError: no variance, or (running) intervals that no longer overlap.
    """
    alpha = 1.0 - confidence
    shared = [0.0] * len(looks) if covariances is None else covariances
    results = [
        _look(*look, mixture, alpha, alternative, covariance)
        for look, covariance in zip(looks, shared, strict=True)
    ]
    return _intersected(results) if running else results


def value_sequence(
    looks: Sequence[ArmEstimate], mixture: Mixture, *, confidence: float = 0.95
) -> list[SequentialValue]:
    """Mean or ratio of one arm at every look, with two-sided intervals.

    Raises:
        StatisticsError: no variance.
    """
    results = []
    for arm in looks:
        error = standard_error_of(arm.variance)
        reach = error * float(critical_value(mixture.time(arm.users, error), 1.0 - confidence))
        bounds = Interval(arm.adjusted, arm.adjusted - reach, arm.adjusted + reach)
        results.append(SequentialValue(arm.users, bounds))
    return results


def _look(
    control: ArmEstimate,
    treatment: ArmEstimate,
    mixture: Mixture,
    alpha: float,
    alternative: Alternative,
    covariance: float,
) -> SequentialComparison:
    users = control.users + treatment.users
    difference = treatment.adjusted - control.adjusted
    error = standard_error_of(control.variance + treatment.variance - 2.0 * covariance)
    time = mixture.time(users, _clock_error(control, treatment, covariance))
    p_value = float(always_valid_p_value(difference / error, time, alternative))
    critical = float(critical_value(time, alpha, alternative))
    reach = critical * error
    absolute = _sided(difference, difference - reach, difference + reach, alternative)
    relative, noisy = ratio_interval(control, treatment, critical, alternative, covariance)
    return SequentialComparison(users, absolute, relative, p_value, error, critical, noisy)


def _clock_error(control: ArmEstimate, treatment: ArmEstimate, covariance: float) -> float:
    """Standard error of the difference from the pooled variance of a user.

    It only sets the time. The variance of a small arm with a heavy tail is noisy, and low just
    when the difference is far out; a clock run by it would double the error rate at 1:9 splits.
    """
    n, m = control.users, treatment.users
    pooled = (n**2 * control.variance + m**2 * treatment.variance) / (n + m)
    total = control.variance + treatment.variance
    left = (total - 2.0 * covariance) / total
    return float(np.sqrt(pooled * (1.0 / n + 1.0 / m) * left))


def ratio_interval(
    control: ArmEstimate,
    treatment: ArmEstimate,
    critical: float,
    alternative: Alternative,
    covariance: float = 0.0,
) -> tuple[Interval | None, bool]:
    """Lifts b / a - 1 not rejected at a critical value (Fieller, JRSS B 16, 1954).

    They are all ratios R for which ``b - R a`` is within it times its standard error; None and
    True if the control is zero, no bounds and True if it is too noisy for any.
    """
    a, b = control.adjusted, treatment.adjusted
    if a == 0.0:
        return None, True
    bounds = fieller_bounds(control, treatment, covariance, critical)
    if bounds is None:
        return Interval(b / a - 1.0, None, None), True
    if a < 0.0 and alternative != "two-sided":
        # More is less of a negative control.
        alternative = "less" if alternative == "greater" else "greater"
    return _sided(b / a - 1.0, *bounds, alternative), False


def _sided(value: float, low: float, high: float, alternative: Alternative) -> Interval:
    return Interval(
        value,
        None if alternative == "less" else low,
        None if alternative == "greater" else high,
    )


def _intersected(looks: list[SequentialComparison]) -> list[SequentialComparison]:
    absolute: Interval | None = None
    relative: Interval | None = None
    p_value = 1.0
    results = []
    for look in looks:
        absolute = _intersect(look.absolute, absolute, look.users)
        if look.relative is not None:
            relative = _intersect(look.relative, relative, look.users)
        p_value = min(p_value, look.p_value)
        here = relative if look.relative is not None else None
        results.append(look._replace(absolute=absolute, relative=here, p_value=p_value))
    return results


def _intersect(new: Interval, old: Interval | None, users: int) -> Interval:
    lows = [i.low for i in (new, old) if i is not None and i.low is not None]
    highs = [i.high for i in (new, old) if i is not None and i.high is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    if low is not None and high is not None and low > high:
        raise StatisticsError(
            "the intervals of the looks no longer overlap.",
            f"At {users:,} users the new one is beyond an earlier one: the effect changes.",
            "Use running=False, which speaks of the average effect so far.",
        )
    return Interval(new.value, low, high)


def standard_error_of(variance: float) -> float:
    """Square root of a variance that must not be zero."""
    if not variance > 0.0:
        raise StatisticsError(
            "the metric does not vary.", "Every user has the same value.", "Look again later."
        )
    return float(np.sqrt(variance))
