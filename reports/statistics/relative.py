"""Choose the scale of the relative lift b / a - 1, or none.

Two intervals are offered, and they are for different uses.

- Fieller's ("fieller", the default; Fieller, JRSS B 16, 1954) asks for which R the difference
  ``b - R a`` can be zero. It is exact for normal means however noisy they are, and excludes zero
  exactly if the absolute interval does: one p value serves both. Use it for a report's lift.
- The log scale ("log"): ``log b - log a`` has variance ``var a / a^2 + var b / b^2 - 2 cov / (ab)``
  (delta method), and the bounds are exponentials of its bounds. It has its own p value, nearly the
  other one. Use it where lifts are multiplied or added up: parts of a product, many experiments.

Which is trustworthy depends on the noise of the means, standard error over mean:

- both at most 10 %: either ("good"). For normal means the log interval of 95 % then covers 95.0 to
  96.2 %, and either tail errs in at most 3.6 % (Fieller's: 95 % and 2.5 %).
- more: only Fieller's ("fieller only"); the log interval is lopsided: at 20 % all its errors are
  in one tail.
- a control whose own interval reaches zero: neither ("too noisy"); every lift beyond some value is
  possible, and only the absolute difference can be given.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate
from reports.statistics.lift import Interval, compare

Method = Literal["fieller", "log"]
Trust = Literal["good", "fieller only", "too noisy"]

LOG_LIMIT = 0.1


class LogLift(NamedTuple):
    """Lift by the delta method on the log scale.

    Attributes:
        log: ``log(b / a)`` and its interval.
        lift: The same as ``b / a - 1``.
        p_value: Two-sided, of no lift; below alpha exactly if the intervals exclude zero.
        standard_error: Of ``log(b / a)``.
        degrees_of_freedom: Satterthwaite's, of the logs.
        confidence: Of the intervals.
    """

    log: Interval
    lift: Interval
    p_value: float
    standard_error: float
    degrees_of_freedom: float
    confidence: float


class RelativeLift(NamedTuple):
    """A relative lift, how it was found, and whether to trust it.

    Attributes:
        interval: Lift and bounds; no bounds if too noisy.
        p_value: Two-sided, of no lift; below alpha exactly if the interval excludes zero (if too
            noisy: if the absolute difference does).
        method: Of the interval.
        control_noise: Standard error over mean.
        treatment_noise: Likewise.
        trust: Which of the two intervals may be used.
    """

    interval: Interval
    p_value: float
    method: Method
    control_noise: float
    treatment_noise: float
    trust: Trust


def relative_lift(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    method: Method = "fieller",
    confidence: float = 0.95,
    covariance: float = 0.0,
    paired: bool = False,
) -> RelativeLift:
    """Relative lift of the treatment.

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        method: See above.
        confidence: Of the interval.
        covariance: Between the two adjusted estimates.
        paired: Whether the same users are in both arms.

    Raises:
        StatisticsError: no variance, a control of zero, or means too noisy for the log scale.
    """
    result = compare(
        control, treatment, confidence=confidence, covariance=covariance, paired=paired
    )
    if result.relative is None:
        raise StatisticsError(
            "there is no relative lift.", "The control is zero.", "Use the absolute difference."
        )
    noise = _noise(control), _noise(treatment)
    positive = control.adjusted > 0.0 and treatment.adjusted > 0.0
    trust: Trust = "good" if positive and max(noise) <= LOG_LIMIT else "fieller only"
    if result.control_too_noisy:
        trust = "too noisy"
    if method == "fieller":
        return RelativeLift(result.relative, result.p_value, method, noise[0], noise[1], trust)
    if trust != "good":
        raise StatisticsError(
            "the lift has no interval on the log scale.",
            f"Standard errors are {noise[0]:.0%} and {noise[1]:.0%} of the means "
            f"{control.adjusted:g} and {treatment.adjusted:g}; up to {LOG_LIMIT:.0%} of positive "
            "means are good enough.",
            "Use Fieller's." if trust == "fieller only" else "Use the absolute difference.",
        )
    logs = log_lift(control, treatment, confidence=confidence, covariance=covariance, paired=paired)
    return RelativeLift(logs.lift, logs.p_value, method, noise[0], noise[1], trust)


def log_lift(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    confidence: float = 0.95,
    covariance: float = 0.0,
    paired: bool = False,
) -> LogLift:
    """Lift on the log scale, whatever the noise.

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        confidence: Of the intervals.
        covariance: Between the two adjusted estimates.
        paired: Whether the same users are in both arms.

    Raises:
        StatisticsError: no variance, or a mean that is not positive.
    """
    a, b = control.adjusted, treatment.adjusted
    if not (a > 0.0 and b > 0.0):
        raise StatisticsError(
            "the lift has no logarithm.",
            f"The means are {a:g} and {b:g}; both must be positive.",
            "Use Fieller's interval, or the absolute difference.",
        )
    result = compare(
        _log(control),
        _log(treatment),
        confidence=confidence,
        covariance=covariance / (a * b),
        paired=paired,
    )
    lift = Interval(*(None if x is None else float(np.expm1(x)) for x in result.absolute))  # type: ignore[arg-type]
    return LogLift(
        result.absolute,
        lift,
        result.p_value,
        result.standard_error,
        result.degrees_of_freedom,
        confidence,
    )


def _log(arm: ArmEstimate) -> ArmEstimate:
    value = float(np.log(arm.adjusted))
    variance = arm.variance / arm.adjusted**2
    return ArmEstimate(arm.users, value, value, variance, variance)


def _noise(arm: ArmEstimate) -> float:
    return float(np.sqrt(arm.variance) / abs(arm.adjusted)) if arm.adjusted else float("inf")
