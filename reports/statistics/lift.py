"""Treatment against control: one test, and the intervals that invert it.

The p value is Welch's (Welch, Biometrika 34, 1947): difference over its standard error, t with
Satterthwaite's degrees of freedom. The relative interval is Fieller's (Fieller, JRSS B 16, 1954)
at the same critical value; it excludes zero exactly when the absolute one does, because both ask
whether the difference can be zero. A control so noisy that its own interval reaches zero has no
bounded relative interval; then only the absolute one is given.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate


class Interval(NamedTuple):
    """A value with bounds; None where a bound does not exist."""

    value: float
    low: float | None
    high: float | None


class Comparison(NamedTuple):
    """Treatment minus control.

    Attributes:
        absolute: Difference and its interval.
        relative: Difference over the control and its interval; None if the control is zero.
        p_value: Two-sided.
        standard_error: Of the difference.
        degrees_of_freedom: Satterthwaite's, or n - 1 for paired data.
        confidence: Of the intervals.
        control_too_noisy: No bounded relative interval exists.
    """

    absolute: Interval
    relative: Interval | None
    p_value: float
    standard_error: float
    degrees_of_freedom: float
    confidence: float
    control_too_noisy: bool


def compare(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    confidence: float = 0.95,
    covariance: float = 0.0,
    paired: bool = False,
) -> Comparison:
    """Compare two arms.

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        confidence: Of the intervals.
        covariance: Between the two adjusted estimates; non-zero for paired (twin) designs.
        paired: Whether the same users are in both arms.

    Raises:
        StatisticsError: no variance at all.
    """
    difference = treatment.adjusted - control.adjusted
    variance = treatment.variance + control.variance - 2.0 * covariance
    if not variance > 0.0:
        raise StatisticsError(
            "the metric does not vary.", "Every user has the same value.", "No lift is computed."
        )
    error = float(np.sqrt(variance))
    freedom = control.users - 1.0 if paired else _satterthwaite(control, treatment)
    statistic = difference / error
    p_value = float(2.0 * stats.t.sf(abs(statistic), freedom))
    critical = float(stats.t.isf((1.0 - confidence) / 2.0, freedom))
    absolute = Interval(difference, difference - critical * error, difference + critical * error)
    relative, noisy = _fieller(control, treatment, covariance, critical)
    return Comparison(absolute, relative, p_value, error, freedom, confidence, noisy)


def _satterthwaite(control: ArmEstimate, treatment: ArmEstimate) -> float:
    total = (control.variance + treatment.variance) ** 2
    parts = control.variance**2 / (control.users - 1) + treatment.variance**2 / (
        treatment.users - 1
    )
    return float(total / parts)


def _fieller(
    control: ArmEstimate, treatment: ArmEstimate, covariance: float, critical: float
) -> tuple[Interval | None, bool]:
    a, b = control.adjusted, treatment.adjusted
    if a == 0.0:
        return None, True
    value = b / a - 1.0
    t2 = critical**2
    quadratic = a * a - t2 * control.variance
    if quadratic <= 0.0:
        return Interval(value, None, None), True
    middle = a * b - t2 * covariance
    constant = b * b - t2 * treatment.variance
    root = float(np.sqrt(max(middle**2 - quadratic * constant, 0.0)))
    low, high = (middle - root) / quadratic - 1.0, (middle + root) / quadratic - 1.0
    return Interval(value, low, high), False


def detectable_effect(
    control: ArmEstimate, standard_error: float, *, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Smallest relative effect found with this power, from this data's variance (two-sided)."""
    if control.adjusted == 0.0:
        return None
    reach = stats.norm.isf(alpha / 2.0) + stats.norm.isf(1.0 - power)
    return float(reach * standard_error / abs(control.adjusted))
