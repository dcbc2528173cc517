"""Estimate how the lift changes from day to day.

The same users are seen every day, so the effects of two days are correlated. All days of a user
are therefore columns of one row: their joint moments hold the covariances between days, and the
slope, a weighted sum of daily effects, is again one number per user (delta method) whose variance
is exact in the correlation. Assumption: users enough for daily means to be nearly normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, adjustment, estimate_arms
from reports.statistics.lift import Comparison, Interval, compare
from reports.statistics.moments import Float, Moments


class Trend(NamedTuple):
    """Straight line through the daily effects.

    Attributes:
        slope: Change of the effect per day (per unit of log(1 + day), if so asked).
        p_value: Two-sided, of no slope; below alpha exactly if the interval excludes zero.
        standard_error: Of the slope.
        degrees_of_freedom: Satterthwaite's.
        first: Fitted effect on the first day.
        last: Fitted effect on the last day.
    """

    slope: Interval
    p_value: float
    standard_error: float
    degrees_of_freedom: float
    first: float
    last: float


def daily_moments(
    numerators: Float, denominators: Float | None = None, covariates: Float | None = None
) -> Moments:
    """Joint moments of all days of one arm.

    Args:
        numerators: float[n, D], one row per user, one column per day.
        denominators: float[n, D]; ones if None (a mean per user and day).
        covariates: float[n, c] from before the experiment.

    Returns:
        Of the columns (numerator of day 0, denominator of day 0, numerator of day 1, ...,
        covariates); merge them to stream.
    """
    x = np.asarray(numerators, dtype=np.float64)
    y = np.ones_like(x) if denominators is None else np.asarray(denominators, dtype=np.float64)
    days = np.stack([x, y], axis=2).reshape(len(x), -1)
    return Moments.of(days if covariates is None else np.column_stack([days, covariates]))


def daily_comparisons(
    control: Moments, treatment: Moments, days: int, *, confidence: float = 0.95
) -> list[Comparison]:
    """Each day by itself.

    Args:
        control: Of the columns of ``daily_moments``.
        treatment: Likewise.
        days: D; columns after the first 2 D are covariates.
        confidence: Of each interval.

    Raises:
        StatisticsError: a day without denominator or without variance.
    """
    return [_named(day, *_day(control, treatment, days, day), confidence) for day in range(days)]


def cumulative_comparisons(
    control: Moments, treatment: Moments, days: int, *, confidence: float = 0.95
) -> list[Comparison]:
    """All days up to each day together: sum of numerators over sum of denominators.

    Looking at all of them is peeking; feed the arms to ``confidence_sequence`` (with an
    ``EffectMixture``: the users stay the same) if a decision depends on it.

    Raises:
        StatisticsError: no denominator or no variance up to some day.
    """
    return [
        _named(day, *arms, confidence)
        for day, arms in enumerate(cumulative_estimates(control, treatment, days))
    ]


def cumulative_estimates(
    control: Moments, treatment: Moments, days: int
) -> list[tuple[ArmEstimate, ArmEstimate]]:
    """Both arms after each day, from all days so far.

    Raises:
        StatisticsError: no denominator up to some day.
    """
    extra = _covariates(control, treatment, days)
    result = []
    for day in range(days):
        matrix = np.zeros((2 + extra, 2 * days + extra))
        matrix[0, 0 : 2 * day + 2 : 2] = 1.0
        matrix[1, 1 : 2 * day + 2 : 2] = 1.0
        matrix[2:, 2 * days :] = np.eye(extra)
        arms = [
            Moments(m.users, matrix @ m.mean, matrix @ m.cross @ matrix.T)
            for m in (control, treatment)
        ]
        first, second = _estimates(arms, day)
        result.append((first, second))
    return result


def effect_trend(
    control: Moments,
    treatment: Moments,
    days: int,
    *,
    relative: bool = True,
    time: Literal["linear", "log"] = "linear",
    dates: Sequence[int] | None = None,
    confidence: float = 0.95,
) -> Trend:
    """Least-squares slope of the daily effects, tested with the correlation between days.

    Args:
        control: Of the columns of ``daily_moments``.
        treatment: Likewise.
        days: D, at least two.
        relative: Daily lifts over the control, or absolute differences.
        time: Effect against the day, or against log(1 + day), which suits one that wears off
            quickly and then stays.
        dates: Day numbers, rising, of the D days; 0 to D - 1 if None.
        confidence: Of the interval.

    Raises:
        StatisticsError: fewer than two days, a day without denominator, a control of zero on some
            day (relative), or no variance.
    """
    if days < 2:
        raise StatisticsError("a trend needs at least two days.", f"There are {days}.")
    at = np.asarray(range(days) if dates is None else dates, dtype=np.float64)
    if time == "log":
        at = np.log1p(at)
    weights = (at - at.mean()) / ((at - at.mean()) ** 2).sum()
    effects = np.zeros(days)
    # Gradients of the slope with respect to the columns' means, per arm.
    gradients = np.zeros((2, len(control.mean)))
    for day in range(days):
        columns = _columns(control, treatment, days, day)
        parts = [m.select(columns) for m in (control, treatment)]
        a, b = _day(control, treatment, days, day)
        theta = adjustment(parts)
        if relative and a.adjusted == 0.0:
            raise StatisticsError(
                f"day {day} has no relative effect.",
                "The control is zero.",
                "Use relative=False.",
            )
        if relative:
            effects[day] = b.adjusted / a.adjusted - 1.0
            slopes = (-b.adjusted / a.adjusted**2, 1.0 / a.adjusted)
        else:
            effects[day] = b.adjusted - a.adjusted
            slopes = (-1.0, 1.0)
        for arm, (part, slope) in enumerate(zip(parts, slopes, strict=True)):
            x, y = part.mean[:2]
            own = np.concatenate([[1.0 / y, -x / y**2], -theta])
            gradients[arm, columns] += weights[day] * slope * own
    slope = float(weights @ effects)
    variances = [
        float(gradient @ m.covariance() @ gradient) / m.users
        for gradient, m in zip(gradients, (control, treatment), strict=True)
    ]
    if not sum(variances) > 0.0:
        raise StatisticsError("the metric does not vary.", "Every user has the same days.")
    error = float(np.sqrt(sum(variances)))
    spread = sum(v**2 / (m.users - 1) for v, m in zip(variances, (control, treatment), strict=True))
    freedom = float(sum(variances) ** 2 / spread)
    reach = error * float(stats.t.isf((1.0 - confidence) / 2.0, freedom))
    fitted = effects.mean() + slope * (at - at.mean())
    return Trend(
        Interval(slope, slope - reach, slope + reach),
        float(2.0 * stats.t.sf(abs(slope) / error, freedom)),
        error,
        freedom,
        float(fitted[0]),
        float(fitted[-1]),
    )


def _covariates(control: Moments, treatment: Moments, days: int) -> int:
    extra = len(control.mean) - 2 * days
    if days < 1 or extra < 0 or len(treatment.mean) != len(control.mean):
        raise StatisticsError(
            "the days do not fit the columns.",
            f"{days} days; {len(control.mean)} and {len(treatment.mean)} columns.",
            "Each day needs a numerator and a denominator (see daily_moments).",
        )
    return extra


def _columns(control: Moments, treatment: Moments, days: int, day: int) -> list[int]:
    extra = _covariates(control, treatment, days)
    return [2 * day, 2 * day + 1, *range(2 * days, 2 * days + extra)]


def _day(
    control: Moments, treatment: Moments, days: int, day: int
) -> tuple[ArmEstimate, ArmEstimate]:
    columns = _columns(control, treatment, days, day)
    return _estimates([m.select(columns) for m in (control, treatment)], day)


def _estimates(arms: Sequence[Moments], day: int) -> tuple[ArmEstimate, ArmEstimate]:
    try:
        first, second = estimate_arms(arms)
    except StatisticsError as error:
        raise StatisticsError(f"day {day}: {error.problem}", error.detail, error.hint) from error
    return first, second


def _named(day: int, control: ArmEstimate, treatment: ArmEstimate, confidence: float) -> Comparison:
    try:
        return compare(control, treatment, confidence=confidence)
    except StatisticsError as error:
        raise StatisticsError(f"day {day}: {error.problem}", error.detail, error.hint) from error
