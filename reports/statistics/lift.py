"""Compare treatment with control: one test and the intervals that invert it.

The p value is Welch's (Welch, Biometrika 34, 1947): difference over its standard error, t with
Satterthwaite's degrees of freedom; or, if asked for, the normal law's, which it approaches. The
relative interval is Fieller's (Fieller, JRSS B 16, 1954)
at the same critical value; it excludes zero exactly when the absolute one does, because both ask
whether the difference can be zero. A control so noisy that its own interval reaches zero has no
bounded relative interval; then only the absolute one is given.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate

Reference = Literal["welch", "normal"]
Alternative = Literal["two-sided", "greater", "less"]

# Variances this small beside what they were computed from are what rounding left of zero.
_ROUNDING = 1e-12


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
        degrees_of_freedom: Satterthwaite's, n - 1 for paired data, infinite for the normal law.
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
    reference: Reference = "welch",
) -> Comparison:
    """Compare two arms.

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        confidence: Of the intervals.
        covariance: Between the two adjusted estimates; non-zero for paired (twin) designs.
        paired: Whether the same users are in both arms.
        reference: Law of the statistic: Welch's t, or the normal.

    Raises:
        StatisticsError: no variance at all, or a confidence outside (0, 1).
    """
    check_confidence(confidence)
    difference = treatment.adjusted - control.adjusted
    error = difference_error(control, treatment, covariance)
    freedom = difference_freedom(control, treatment, paired, reference)
    statistic = difference / error
    p_value = float(2.0 * stats.t.sf(abs(statistic), freedom))
    critical = float(stats.t.isf((1.0 - confidence) / 2.0, freedom))
    absolute = Interval(difference, difference - critical * error, difference + critical * error)
    relative, noisy = _fieller(control, treatment, covariance, critical)
    return Comparison(absolute, relative, p_value, error, freedom, confidence, noisy)


def difference_error(
    control: ArmEstimate, treatment: ArmEstimate, covariance: float = 0.0
) -> float:
    """Standard error of treatment minus control.

    Raises:
        StatisticsError: no variance, or only what rounding left of it (also where covariates
            determine the metric); or a variance that is no number.
    """
    total = treatment.variance + control.variance
    variance = total - 2.0 * covariance
    if not np.isfinite([variance, control.adjusted, treatment.adjusted]).all():
        raise StatisticsError(
            "the arms cannot be compared.",
            f"Values {control.adjusted:g} and {treatment.adjusted:g}, variance {variance:g}.",
            "Look for missing or infinite values in the table.",
        )
    raw = treatment.raw_variance + control.raw_variance
    if raw > 0.0 and total <= _ROUNDING * raw:
        raise StatisticsError(
            "the covariates determine the metric.",
            "Adjusting for them leaves nothing but rounding.",
            "Leave out the covariate that repeats it.",
        )
    if raw == 0.0 or variance <= _ROUNDING * total:
        detail = f"Every user has the same {'effect' if covariance else 'value'}."
        apart = not np.isclose(control.value, treatment.value, rtol=1e-12, atol=0.0)
        if not covariance and apart:
            detail = (
                f"Every user of the control has {control.value:g}, every user of the treatment "
                f"{treatment.value:g}."
            )
        raise StatisticsError("the metric does not vary.", detail, "No lift is computed.")
    return float(np.sqrt(variance))


def difference_freedom(
    control: ArmEstimate, treatment: ArmEstimate, paired: bool, reference: Reference = "welch"
) -> float:
    """Degrees of freedom of the difference; infinite for the normal law."""
    if reference == "normal":
        return float("inf")
    return control.users - 1.0 if paired else _satterthwaite(control, treatment)


def check_confidence(confidence: float) -> None:
    """Refuse what is no confidence.

    Raises:
        StatisticsError: not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise StatisticsError(
            "the confidence is not possible.", f"It is {confidence:g}, not in (0, 1).", "Try 0.95."
        )


def _satterthwaite(control: ArmEstimate, treatment: ArmEstimate) -> float:
    total = (control.variance + treatment.variance) ** 2
    parts = control.variance**2 / (control.users - 1) + treatment.variance**2 / (
        treatment.users - 1
    )
    return float(total / parts)


def fieller_bounds(
    control: ArmEstimate, treatment: ArmEstimate, covariance: float, critical: float
) -> tuple[float, float] | None:
    """Lifts r at which ``b - (1 + r) a`` is ``critical`` standard errors from zero.

    They are the roots of a quadratic; its discriminant is written without the difference of nearly
    equal squares, which would cost half of the digits when standard errors are small.

    Returns:
        Lower and upper one; None if the control is not clear of zero.
    """
    a, b, va, vb = control.adjusted, treatment.adjusted, control.variance, treatment.variance
    t2 = critical**2
    quadratic = a * a - t2 * va
    if quadratic <= 0.0:
        return None
    middle = a * b - t2 * covariance
    spread = va * b * b + vb * a * a - 2.0 * covariance * a * b - t2 * (va * vb - covariance**2)
    root = abs(critical) * float(np.sqrt(max(spread, 0.0)))
    return (middle - root) / quadratic - 1.0, (middle + root) / quadratic - 1.0


def _fieller(
    control: ArmEstimate, treatment: ArmEstimate, covariance: float, critical: float
) -> tuple[Interval | None, bool]:
    if control.adjusted == 0.0:
        return None, True
    value = treatment.adjusted / control.adjusted - 1.0
    bounds = fieller_bounds(control, treatment, covariance, critical)
    if bounds is None:
        return Interval(value, None, None), True
    return Interval(value, *bounds), False


def detectable_difference(
    standard_error: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    degrees_of_freedom: float = np.inf,
) -> float:
    """Smallest difference found with this power (two-sided), in the metric's unit.

    By quantiles of t, which stand in for the noncentral t that `reports.statistics.power` inverts;
    a test says how near they are.
    """
    law = stats.t(degrees_of_freedom)
    return float((law.isf(alpha / 2.0) + law.isf(1.0 - power)) * standard_error)
