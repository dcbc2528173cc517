"""Compare two rates by the score method, which holds with few events and with none.

Each of n users has an event or not; x have. A t interval takes the variance from the rate that was
seen, which is zero where nothing was seen. The score interval is every difference d (every ratio r)
that a test at the very variance of that hypothesis does not reject:

    d:  |p_b - p_a - d| <= z sqrt(k (q_b (1 - q_b) / n_b + q_a (1 - q_a) / n_a)),  q_b = q_a + d
    r:  |p_b - r p_a|   <= z sqrt(k (q_b (1 - q_b) / n_b + r^2 q_a (1 - q_a) / n_a)),  q_b = r q_a

with q the rates of largest likelihood under the hypothesis: for d the root of a cubic (Miettinen &
Nurminen, Statistics in Medicine 4, 1985; trigonometric form: Farrington & Manning, Statistics in
Medicine 9, 1990), for r that of a quadratic. ``k = N / (N - 1)`` is Miettinen and Nurminen's, with
``k = 1`` the p value is that of the pooled z test. At no effect both hypotheses are the same one,
so the intervals of difference and lift exclude it together, exactly when p < 1 - confidence.

Assumptions: users are independent, one event per user at most; no covariates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from scipy import optimize, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.lift import Comparison, Interval, check_confidence
from reports.statistics.margins import HarmTest, Scale

_FARTHEST = 60.0  # of the logarithm of a ratio


class Rate(NamedTuple):
    """Users of one arm, and how many of them had the event."""

    events: int
    users: int

    @property
    def value(self) -> float:
        """Events per user."""
        return self.events / self.users


def compare_rates(
    control: Rate, treatment: Rate, *, confidence: float = 0.95, small_sample: bool = True
) -> Comparison:
    """Compare two rates.

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        confidence: Of the intervals.
        small_sample: Miettinen and Nurminen's factor N / (N - 1); without it p is the pooled z
            test's.

    Returns:
        Differences are between rates of 0 to 1. There is no relative interval if the control had no
        event. The standard error is the one under no effect.

    Raises:
        StatisticsError: no user in an arm, impossible counts, or the same value of every user.
    """
    check_confidence(confidence)
    _check(control, treatment)
    critical = float(stats.norm.isf((1.0 - confidence) / 2.0))
    score = difference_score(control, treatment, 0.0, small_sample=small_sample)
    value = treatment.value - control.value

    def at_difference(d: float) -> float:
        return difference_score(control, treatment, d, small_sample=small_sample)

    absolute = Interval(
        value,
        _root(lambda d: at_difference(d) - critical, -1.0, value),
        _root(lambda d: at_difference(d) + critical, value, 1.0),
    )
    relative = None
    if control.events:
        relative = _lift(control, treatment, critical, small_sample)
    pooled = (control.events + treatment.events) / (control.users + treatment.users)
    spread = pooled * (1.0 - pooled) * (1.0 / control.users + 1.0 / treatment.users)
    error = math.sqrt(spread * _factor(control, treatment, small_sample))
    p_value = float(2.0 * stats.norm.sf(abs(score)))
    return Comparison(
        absolute, relative, p_value, error, math.inf, confidence, control_too_noisy=relative is None
    )


def difference_score(
    control: Rate, treatment: Rate, difference: float, *, small_sample: bool = True
) -> float:
    """Score statistic, nearly normal, of the hypothesis that the rates differ by ``difference``."""
    low = _constrained_control(control, treatment, difference)
    high = min(max(low + difference, 0.0), 1.0)
    variance = high * (1.0 - high) / treatment.users + low * (1.0 - low) / control.users
    distance = treatment.value - control.value - difference
    return _over(distance, variance * _factor(control, treatment, small_sample))


def ratio_score(
    control: Rate, treatment: Rate, ratio: float, *, small_sample: bool = True
) -> float:
    """Score statistic of the hypothesis that the treatment's rate is ``ratio`` times the control's.

    Args:
        control: Of the control arm.
        treatment: Of the treatment arm.
        ratio: Above zero.
        small_sample: As for ``compare_rates``.
    """
    events, users = control.events + treatment.events, control.users + treatment.users
    a = users * ratio
    b = treatment.users * ratio + treatment.events + control.users + control.events * ratio
    low = 2.0 * events / (b + math.sqrt(max(b * b - 4.0 * a * events, 0.0)))
    high = min(ratio * low, 1.0)
    variance = high * (1.0 - high) / treatment.users + ratio**2 * low * (1.0 - low) / control.users
    distance = treatment.value - ratio * control.value
    return _over(distance, variance * _factor(control, treatment, small_sample))


def rate_harm(
    control: Rate,
    treatment: Rate,
    *,
    margin: float,
    direction: Literal["up", "down"] = "up",
    scale: Scale = "relative",
    small_sample: bool = True,
) -> HarmTest:
    """As ``harm_test``, by the score statistic at the margin.

    Raises:
        StatisticsError: impossible counts, or a margin that is not positive.
    """
    _check(control, treatment)
    if not 0.0 < margin < math.inf:
        raise StatisticsError(
            "there is no margin to stay within.",
            f"It is {margin:g}.",
            "Give the largest acceptable harm as a positive number.",
        )
    side = 1.0 if direction == "up" else -1.0
    if scale == "absolute":
        limit = min(max(-side * margin, -1.0), 1.0)
        z = difference_score(control, treatment, limit, small_sample=small_sample)
    else:
        ratio = max(1.0 - side * margin, math.exp(-_FARTHEST))
        z = ratio_score(control, treatment, ratio, small_sample=small_sample)
    return HarmTest(float(stats.norm.sf(side * z)), float(stats.norm.sf(-side * z)))


def _lift(control: Rate, treatment: Rate, critical: float, small_sample: bool) -> Interval:
    """Ratio less one; the control has events."""

    def score(log_ratio: float) -> float:
        return ratio_score(control, treatment, math.exp(log_ratio), small_sample=small_sample)

    value = treatment.value / control.value
    middle = math.log(value) if value > 0.0 else -_FARTHEST
    low = 0.0
    if treatment.events:
        low = math.exp(_root(lambda x: score(x) - critical, -_FARTHEST, middle))
    high = math.exp(_root(lambda x: score(x) + critical, middle, _FARTHEST))
    return Interval(value - 1.0, low - 1.0, high - 1.0)


def _constrained_control(control: Rate, treatment: Rate, difference: float) -> float:
    """The control's rate of largest likelihood among those that differ by ``difference``.

    Smaller root of the cubic, by its trigonometric form (Farrington & Manning 1990, appendix).
    """
    if difference == 0.0:
        return (control.events + treatment.events) / (control.users + treatment.users)
    lowest, highest = max(0.0, -difference), min(1.0, 1.0 - difference)
    theta = control.users / treatment.users
    p1, p2, d = treatment.value, control.value, difference
    a = 1.0 + theta
    b = -(1.0 + theta + p1 + theta * p2 + d * (theta + 2.0))
    c = d * d + d * (2.0 * p1 + theta + 1.0) + p1 + theta * p2
    e = -p1 * d * (1.0 + d)
    v = b**3 / (3.0 * a) ** 3 - b * c / (6.0 * a * a) + e / (2.0 * a)
    u = math.copysign(math.sqrt(max(b * b / (3.0 * a) ** 2 - c / (3.0 * a), 0.0)), v)
    if u == 0.0:
        found = -b / (3.0 * a)
    else:
        w = (math.pi + math.acos(min(max(v / u**3, -1.0), 1.0))) / 3.0
        found = 2.0 * u * math.cos(w) - b / (3.0 * a)
    return min(max(found - d, lowest), highest)


def _factor(control: Rate, treatment: Rate, small_sample: bool) -> float:
    users = control.users + treatment.users
    return users / (users - 1.0) if small_sample else 1.0


def _over(distance: float, variance: float) -> float:
    if variance > 0.0:
        return distance / math.sqrt(variance)
    return 0.0 if distance == 0.0 else math.copysign(math.inf, distance)


def _root(gap: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero; an end if it does not cross."""
    if not gap(low) > 0.0:
        return low
    if not gap(high) < 0.0:
        return high

    # Scores may be infinite at the ends of what is possible.
    def finite(x: float) -> float:
        return min(max(gap(x), -1e6), 1e6)

    return float(optimize.brentq(finite, low, high, xtol=1e-15, rtol=1e-14, maxiter=500))


def _check(control: Rate, treatment: Rate) -> None:
    for arm in (control, treatment):
        if arm.users < 1 or not 0 <= arm.events <= arm.users:
            raise StatisticsError(
                "the rate is not possible.", f"{arm.events:,} events of {arm.users:,} users."
            )
    events, users = control.events + treatment.events, control.users + treatment.users
    if events in (0, users) or users < 2:
        raise StatisticsError(
            "the metric does not vary.", "Every user has the same value.", "No lift is computed."
        )
