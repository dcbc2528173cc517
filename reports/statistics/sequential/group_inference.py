"""Compute p values, intervals and estimates of a group sequential test.

At any look, stopped or not: the repeated interval of all effects whose z is within the boundary
(``estimate +/- b_k standard errors``, Jennison & Turnbull, JRSS B 51, 1989), and as p value the
smallest error rate whose boundary the look has passed. z is the difference over its standard
error; its skewness is taken out (``skewness.hall``) if the looks' third cumulants are given, and
looks with more skewness than ``MOST_SKEWED`` are not read until one has less
(``GroupSequential.first_read``).

After stopping: p value, interval and median-unbiased estimate in the stagewise ordering, in which
an earlier crossing is more extreme (Tsiatis, Rosner & Mehta, Biometrics 40, 1984).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate
from reports.statistics.lift import Alternative, Interval
from reports.statistics.sequential.confidence_sequences import ratio_interval, standard_error_of
from reports.statistics.sequential.crossing import Walk
from reports.statistics.sequential.group_sequential import GroupSequential
from reports.statistics.sequential.skewness import (
    NORMAL,
    Cumulants,
    hall,
    hall_inverse,
    lift_bounds,
    skewness_of_difference,
)

_SMALLEST = 1e-15


class GroupLook(NamedTuple):
    """One look: treatment minus control.

    Attributes:
        fraction: Information so far over planned information.
        z: Difference over its standard error, less its skewness.
        boundary: z beyond which the look rejects; infinite if it is not read.
        rejected: Whether it does.
        absolute: Difference and its repeated interval; no upper bound if one-sided.
        relative: Difference over the control, Fieller's interval at the same boundary; None if
            the control is zero.
        p_value: Repeated p value; below alpha exactly if the interval excludes zero.
        control_too_noisy: No bounded relative interval exists.
        skewness: Of the difference.
    """

    fraction: float
    z: float
    boundary: float
    rejected: bool
    absolute: Interval
    relative: Interval | None
    p_value: float
    control_too_noisy: bool
    skewness: float = 0.0


class StagewiseResult(NamedTuple):
    """Of a test that has stopped.

    Attributes:
        p_value: In the stagewise ordering; below alpha exactly if a boundary was crossed.
        interval: Median-unbiased estimate and its interval, in units of the difference.
    """

    p_value: float
    interval: Interval


def group_looks(
    design: GroupSequential,
    looks: Sequence[tuple[ArmEstimate, ArmEstimate]],
    planned_error: float,
    *,
    last: bool = False,
    cumulants: Sequence[Cumulants] | None = None,
) -> list[GroupLook]:
    """Analyse all looks so far.

    Args:
        design: The test.
        looks: Control and treatment, each from all data up to the look, in order.
        planned_error: Standard error of the difference that the experiment was planned to reach.
        last: The final one is the last look at all.
        cumulants: Of each look (``tails.third_cumulants``); users' values count as symmetric
            without.

    Raises:
        StatisticsError: no variance, or a look without more information than the one before.
    """
    known = [NORMAL] * len(looks) if cumulants is None else cumulants
    errors = [standard_error_of(c.variance + t.variance) for c, t in looks]
    skewness = [
        skewness_of_difference(*arms, third) for arms, third in zip(looks, known, strict=True)
    ]
    fractions = [(planned_error / error) ** 2 for error in errors]
    first = design.first_read(skewness, last=last)
    boundaries = design.boundaries(fractions, last=last, first=first)
    results = []
    for k, ((control, treatment), error, rho) in enumerate(
        zip(looks, errors, skewness, strict=True)
    ):
        difference = treatment.adjusted - control.adjusted
        z, boundary = float(hall(difference / error, rho)), float(boundaries[k])
        final = last and k + 1 == len(looks)
        absolute = Interval(difference, None, None)
        relative, noisy = None, control.adjusted == 0.0
        p_value = 1.0
        if np.isfinite(boundary):
            low = difference - error * hall_inverse(boundary, rho)
            high = difference - error * hall_inverse(-boundary, rho)
            absolute = Interval(difference, low, high if design.sides == 2 else None)
            relative, noisy = _relative(control, treatment, known[k], boundary, design.sides)
        if k >= first:
            p_value = repeated_p_value(design, fractions[first : k + 1], z, last=final)
        results.append(
            GroupLook(
                fractions[k],
                z,
                boundary,
                (abs(z) if design.sides == 2 else z) > boundary,
                absolute,
                relative,
                p_value,
                noisy,
                rho,
            )
        )
    return results


def _relative(
    control: ArmEstimate,
    treatment: ArmEstimate,
    cumulants: Cumulants,
    boundary: float,
    sides: int,
) -> tuple[Interval | None, bool]:
    """The lift's interval; None and True if the control is zero, no bounds if it is too noisy."""
    side: Alternative = "two-sided" if sides == 2 else "greater"
    if cumulants == NORMAL or control.adjusted == 0.0:
        return ratio_interval(control, treatment, boundary, side)
    value = treatment.adjusted / control.adjusted - 1.0
    bounds = lift_bounds(control, treatment, cumulants, boundary)
    if bounds is None:
        return Interval(value, None, None), True
    # More is less of a negative control.
    low = None if sides == 1 and control.adjusted < 0.0 else bounds[0]
    high = None if sides == 1 and control.adjusted > 0.0 else bounds[1]
    return Interval(value, low, high), False


def repeated_p_value(
    design: GroupSequential, fractions: Sequence[float], z: float, *, last: bool = False
) -> float:
    """Smallest error rate at which the last of these looks rejects; at least 1e-15."""
    passed = abs(z) if design.sides == 2 else z

    def gap(log_alpha: float) -> float:
        # Capped: where nothing may be spent the boundary is infinite.
        trial = design._replace(alpha=float(np.exp(log_alpha)))
        return min(float(trial.boundaries(fractions, last=last)[-1]), 1e3) - passed

    low, high = np.log(_SMALLEST), np.log(1.0 - 1e-6)
    if gap(low) <= 0.0:
        return _SMALLEST
    if gap(high) >= 0.0:
        return 1.0
    return float(np.exp(optimize.brentq(gap, low, high, xtol=1e-10)))


def stagewise(
    design: GroupSequential,
    fractions: Sequence[float],
    z: float,
    planned_error: float,
    *,
    last: bool = False,
) -> StagewiseResult:
    """Inference after stopping.

    Args:
        design: The test.
        fractions: Information fractions of the looks that were read; the test stopped at the last.
        z: The statistic there (``GroupLook.z``).
        planned_error: Standard error of the difference at fraction 1.
        last: It stopped because no look was left.

    Raises:
        StatisticsError: the test has not stopped.
    """
    boundaries = design.boundaries(fractions, last=last)
    if not last and (abs(z) if design.sides == 2 else z) <= boundaries[-1]:
        raise StatisticsError(
            "the test has not stopped.",
            f"z is {z:.3f}, the boundary {boundaries[-1]:.3f}.",
            "Use the repeated interval, or last=True if no look is left.",
        )
    # A lower crossing is the mirror image of an upper one.
    sign = -1.0 if z < 0.0 and design.sides == 2 else 1.0
    passed = sign * z

    def beyond(drift: float) -> float:
        """Probability of an outcome at least as extreme as the one seen, upwards."""
        walk = Walk(fractions, drift)
        total = 0.0
        for boundary in boundaries[:-1]:
            total += walk.above(float(boundary))
            walk.advance(design.lower(boundary), float(boundary))
        return total + walk.above(passed)

    centre = passed / np.sqrt(fractions[-1])
    width = 12.0 / np.sqrt(fractions[0])

    def drift_at(probability: float) -> float:
        return float(
            optimize.brentq(
                lambda drift: beyond(drift) - probability, centre - width, centre + width, xtol=1e-9
            )
        )

    tail = beyond(0.0)
    # The observed side is the less likely one, because the test is symmetric.
    p_value = min(1.0, design.sides * tail)
    level = design.alpha / design.sides
    bounds = [drift_at(level), drift_at(0.5)] + ([drift_at(1.0 - level)] * (design.sides == 2))
    scaled = sorted(sign * planned_error * bound for bound in bounds)
    if design.sides == 1:
        return StagewiseResult(p_value, Interval(scaled[1], scaled[0], None))
    return StagewiseResult(p_value, Interval(scaled[1], scaled[0], scaled[2]))
