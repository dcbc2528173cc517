"""Test an effect against a margin: non-inferiority and superiority.

"Greater" tests whether an effect is above a margin m, "less" whether it is below. On the absolute
scale the statistic is Welch's with the margin taken off,

    T = (b - a - m) / sqrt(var a + var b - 2 cov),

on the relative scale Fieller's (JRSS B 16, 1954), which asks the same of ``b - (1 + m) a``,

    T = (b - (1 + m) a) / sqrt(var b + (1 + m)^2 var a - 2 (1 + m) cov),

with its sign turned for a negative control. The bound is the margin at which the p value is alpha:
the effect is above a margin with p < alpha exactly if the lower bound is above it, whatever the
margin (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987, on tests and bounds
of one side; Hida & Tango, Statistics in Medicine 30, 2011, on ratios). For that the degrees of
freedom are those of the plain difference at every margin.

Assumptions: as for ``compare``; and one-sided tests feel skewness sooner than two-sided ones (see
``tails``). A margin is chosen before the experiment.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate
from reports.statistics.lift import (
    Reference,
    check_confidence,
    difference_error,
    difference_freedom,
    fieller_bounds,
)

Side = Literal["greater", "less"]
Scale = Literal["relative", "absolute"]


class MarginTest(NamedTuple):
    """A one-sided test.

    Attributes:
        effect: Lift, or difference.
        bound: One-sided, at ``confidence``: lower for "greater", upper for "less".
        margin: Tested against.
        p_value: Of an effect no better than the margin; below 1 - confidence exactly if the bound
            is beyond it.
        alternative: Which side.
        scale: Of effect, bound and margin.
        degrees_of_freedom: Of the plain difference.
        confidence: Of the bound.
    """

    effect: float
    bound: float
    margin: float
    p_value: float
    alternative: Side
    scale: Scale
    degrees_of_freedom: float
    confidence: float

    @property
    def passed(self) -> bool:
        """Whether the effect is beyond the margin at this confidence."""
        return self.p_value < 1.0 - self.confidence


def margin_test(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    margin: float = 0.0,
    alternative: Side = "greater",
    scale: Scale = "relative",
    confidence: float = 0.975,
    covariance: float = 0.0,
    paired: bool = False,
    reference: Reference = "welch",
) -> MarginTest:
    """Is the effect above ("greater") or below ("less") a margin?

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        margin: As a lift (-0.01: one per cent less than the control) or a difference.
        alternative: Which side.
        scale: Of the margin.
        confidence: Of the one-sided bound; 97.5 % is the bound of a two-sided 95 % interval.
        covariance: Between the two adjusted estimates.
        paired: Whether the same users are in both arms.
        reference: Law of the statistic.

    Raises:
        StatisticsError: no variance, or (relative) a control too noisy for a bounded lift.
    """
    check_confidence(confidence)
    if not np.isfinite(margin):
        raise StatisticsError("there is no margin.", f"It is {margin}.", "Give a number.")
    error = difference_error(control, treatment, covariance)
    freedom = difference_freedom(control, treatment, paired, reference)
    critical = float(stats.t.isf(1.0 - confidence, freedom))
    a, b = control.adjusted, treatment.adjusted
    side = 1.0 if alternative == "greater" else -1.0
    if scale == "absolute":
        effect = b - a
        statistic = (effect - margin) / error
        bound = effect - side * critical * error
    else:
        effect, bound = _relative(control, treatment, covariance, critical, side)
        factor = 1.0 + margin
        variance = treatment.variance + factor**2 * control.variance - 2.0 * factor * covariance
        if not variance > 0.0:
            raise StatisticsError(
                "the margin cannot be tested.",
                f"Treatment less {factor:g} times control is the same for every user.",
                "Use the absolute scale.",
            )
        statistic = float(np.sign(a) * (b - factor * a) / np.sqrt(variance))
    p_value = float(stats.t.sf(side * statistic, freedom))
    return MarginTest(effect, bound, margin, p_value, alternative, scale, freedom, confidence)


def non_inferiority(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    margin: float,
    direction: Literal["up", "down"] = "up",
    scale: Scale = "relative",
    confidence: float = 0.975,
    covariance: float = 0.0,
    paired: bool = False,
    reference: Reference = "welch",
) -> MarginTest:
    """Is the treatment worse by less than a margin?

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        margin: Largest acceptable harm, positive; 0.01 on the relative scale is one per cent.
        direction: "up" if more of the metric is better.
        scale: Of the margin.
        confidence: Of the one-sided bound.
        covariance: Between the two adjusted estimates.
        paired: Whether the same users are in both arms.
        reference: Law of the statistic.

    Raises:
        StatisticsError: a margin that is not positive, or as for ``margin_test``.
    """
    if not margin > 0.0:
        raise StatisticsError(
            "there is no margin to stay within.",
            f"It is {margin:g}.",
            "Give the largest acceptable harm as a positive number.",
        )
    up = direction == "up"
    return margin_test(
        control,
        treatment,
        margin=-margin if up else margin,
        alternative="greater" if up else "less",
        scale=scale,
        confidence=confidence,
        covariance=covariance,
        paired=paired,
        reference=reference,
    )


def superiority(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    margin: float = 0.0,
    direction: Literal["up", "down"] = "up",
    scale: Scale = "relative",
    confidence: float = 0.975,
    covariance: float = 0.0,
    paired: bool = False,
    reference: Reference = "welch",
) -> MarginTest:
    """Is the treatment better by more than a margin?

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        margin: Smallest gain worth having, not negative.
        direction: "up" if more of the metric is better.
        scale: Of the margin.
        confidence: Of the one-sided bound.
        covariance: Between the two adjusted estimates.
        paired: Whether the same users are in both arms.
        reference: Law of the statistic.

    Raises:
        StatisticsError: a negative margin, or as for ``margin_test``.
    """
    if not margin >= 0.0:
        raise StatisticsError(
            "a gain cannot be negative.",
            f"The margin is {margin:g}.",
            "For a harm that may be accepted use non_inferiority.",
        )
    up = direction == "up"
    return margin_test(
        control,
        treatment,
        margin=margin if up else -margin,
        alternative="greater" if up else "less",
        scale=scale,
        confidence=confidence,
        covariance=covariance,
        paired=paired,
        reference=reference,
    )


class HarmTest(NamedTuple):
    """Two one-sided tests of a guardrail's margin.

    Attributes:
        within: P value of harm of the margin or more; small: the margin holds.
        broken: P value of harm of the margin or less; small: the margin is broken.
        settled: Whether the margin is a number; False for a share of a control near zero.
    """

    within: float
    broken: float
    settled: bool = True


def harm_test(
    control: ArmEstimate,
    treatment: ArmEstimate,
    *,
    margin: float,
    direction: Literal["up", "down"] = "up",
    scale: Scale = "relative",
    confidence: float = 0.95,
    covariance: float = 0.0,
    paired: bool = False,
) -> HarmTest:
    """Is the treatment worse by less, or by more, than a margin?

    A relative margin is a share of the control without its sign: with s = 1 if more is better and
    -1 otherwise, harm of the margin is ``b - a = -s m |a|``, the same as ``b - f a = 0`` for
    ``f = 1 - s m sign(a)``. The sign is known where the control is clear of zero at the given
    confidence. Elsewhere the margin itself is not: then it lies between none and a share of the
    far end of the control's interval, and both tests take the end that is against them.

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        margin: Largest acceptable harm, positive; a share of the control, or in the metric's unit.
        direction: "up" if more of the metric is better.
        scale: Of the margin.
        confidence: At which the control is clear of zero or not.
        covariance: Between the two adjusted estimates.
        paired: Whether the same users are in both arms.

    Raises:
        StatisticsError: no variance, or a margin that is not positive.
    """
    if not 0.0 < margin < np.inf:
        raise StatisticsError(
            "there is no margin to stay within.",
            f"It is {margin:g}.",
            "Give the largest acceptable harm as a positive number.",
        )
    check_confidence(confidence)
    error = difference_error(control, treatment, covariance)
    freedom = difference_freedom(control, treatment, paired)
    side = 1.0 if direction == "up" else -1.0
    a, gain = control.adjusted, side * (treatment.adjusted - control.adjusted)

    def tail(statistic: float) -> float:
        return float(stats.t.sf(statistic, freedom))

    if scale == "absolute":
        return HarmTest(tail((gain + margin) / error), tail(-(gain + margin) / error))
    reach = float(stats.t.isf((1.0 - confidence) / 2.0, freedom) * np.sqrt(control.variance))
    if abs(a) > reach:
        factor = 1.0 - side * margin * float(np.sign(a))
        variance = treatment.variance + factor**2 * control.variance - 2.0 * factor * covariance
        if not variance > 0.0:
            raise StatisticsError(
                "the margin cannot be tested.",
                f"Treatment less {factor:g} times control is the same for every user.",
                "Give the margin in the metric's unit.",
            )
        statistic = side * (treatment.adjusted - factor * a) / float(np.sqrt(variance))
        return HarmTest(tail(statistic), tail(-statistic))
    farthest = margin * (abs(a) + reach)
    return HarmTest(tail(gain / error), tail(-(gain + farthest) / error), settled=False)


def _relative(
    control: ArmEstimate, treatment: ArmEstimate, covariance: float, critical: float, side: float
) -> tuple[float, float]:
    """Lift and its bound: the root of Fieller's quadratic on that side."""
    a = control.adjusted
    bounds = fieller_bounds(control, treatment, covariance, critical)
    if a == 0.0 or bounds is None:
        raise StatisticsError(
            "the lift has no bound.",
            f"The control {a:g} is not clear of zero (standard error "
            f"{float(np.sqrt(control.variance)):g}).",
            "Use the absolute scale.",
        )
    # Below confidence 50 % the bound is on the other side of the effect.
    lower = (side > 0.0) == (critical >= 0.0)
    return treatment.adjusted / a - 1.0, bounds[0 if lower else 1]
