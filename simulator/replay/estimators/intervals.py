"""Turn linearised estimates into intervals: Student, Fieller, rare events, bounded and likelihood.

An amount with a long tail is underestimated far more often than overestimated, with too small a
standard error each time. Student's interval therefore reaches farther on the side of the tail, as
far as the statistic without its skewness allows (`simulator.replay.estimators.skewness`). The other
side is never shortened: the skewness of a sample is too small where the tail is long.

No interval has width zero unless the quantity is known exactly, such as the difference of a policy
and itself. A bound that the data cannot give is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import chi2
from scipy.stats import t as student

from simulator.replay.estimators.linear import Float64, Linear, effective_sample_size
from simulator.replay.estimators.skewness import inverse, skewness, transformed

LEVEL = 0.95
_SEARCH = (-10.0, 40.0, 0.25)
"""Powers of two, in standard errors, where a bound is looked for; farther away none exists."""
RARE_EVENTS = 20.0
"""Below so many equally heavy events, a share has the interval of weighted counts."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: Point estimate.
        standard_error: Clustered by user.
        low, high: Bounds; None where the data give none.
    """

    value: float
    standard_error: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, linear: Linear, level: float = LEVEL) -> Estimate | None:
        """The interval of a linearised estimate; None with fewer than two users."""
        users = int(linear.contributes.sum())
        error = linear.standard_error
        if users < 2 or not np.isfinite(error):
            return None
        below, above = reach(linear.influence, users, level)
        return cls(linear.value, error, linear.value - below * error, linear.value + above * error)

    def covers(self, truth: float) -> bool:
        """Whether the interval holds a value; a missing bound excludes nothing."""
        above = self.low is None or self.low <= truth
        return above and (self.high is None or truth <= self.high)

    def width(self) -> float:
        """Length of the interval; infinite where a bound is missing."""
        if self.low is None or self.high is None:
            return float("inf")
        return self.high - self.low


def degrees_of_freedom(influence: Float64, users: int) -> float:
    """Degrees of freedom of a variance that is a sum of squared influences ``u`` of G users.

    A chi-squared variable with f degrees has squared coefficient of variation ``2 / f``; that of
    the summed squares is ``sum u^4 / (sum u^2)^2 - 1 / G`` (Satterthwaite, Biometrics 1946). Normal
    influences give G; a few large ones give few degrees. Never more than the users less one.
    """
    square = influence**2
    return _freedom(float(square.sum()), float((square**2).sum()), users)


def _freedom(second: float, fourth: float, users: int) -> float:
    most = float(max(users - 1, 1))
    if second <= 0:
        return most
    variation = fourth / second**2 - 1.0 / max(users, 1)
    return float(np.clip(2.0 / variation, 1.0, most)) if variation > 0 else most


def critical(linear: Linear, level: float = LEVEL) -> float:
    """Student's quantile for a two-sided interval."""
    freedom = degrees_of_freedom(linear.influence, int(linear.contributes.sum()))
    return float(student.ppf(0.5 + level / 2, freedom))


def reach(influence: Float64, users: int, level: float = LEVEL) -> tuple[float, float]:
    """Standard errors from the estimate to its lower and to its upper bound.

    A value is outside if both its statistic and the statistic without skewness are beyond Student's
    quantile.
    """
    quantile = float(student.ppf(0.5 + level / 2, degrees_of_freedom(influence, users)))
    skew = skewness(influence)
    return max(quantile, inverse(quantile, skew)), max(quantile, -inverse(-quantile, skew))


def p_value(linear: Linear) -> float | None:
    """Two-sided, of a true value of 0: below 5 % exactly if the interval leaves out 0.

    None without noise to judge by.
    """
    error = linear.standard_error
    if error == 0.0:
        return None
    freedom = degrees_of_freedom(linear.influence, int(linear.contributes.sum()))
    statistic = linear.value / error
    moved = transformed(statistic, skewness(linear.influence))
    nearer = min(abs(statistic), abs(moved)) if statistic * moved > 0 else 0.0
    return float(2.0 * student.sf(nearer, freedom))


def fieller(treatment: Linear, control: Linear, level: float = LEVEL) -> Estimate | None:
    """Interval of ``treatment / control - 1`` (Fieller, JRSS B 1954), paired by user.

    It holds the values R for which ``treatment - R control`` may be zero, and excludes 0 exactly if
    the interval of the difference does. It exists however noisy the control is: where the control
    may be zero itself, the set has no upper bound (or none at all), and those bounds are None.
    """
    if control.value <= 0:
        return None
    users = int((treatment.contributes | control.contributes).sum())
    if users < 2:
        return None
    value = treatment.value / control.value
    direction = treatment.influence - value * control.influence
    error = float(np.sqrt((direction**2).sum())) / control.value
    if error == 0.0:
        return Estimate(value - 1.0, 0.0, value - 1.0, value - 1.0)
    low, high = (_ratio_bound(side, value, control, direction, users, level) for side in (-1, 1))
    return Estimate(
        value - 1.0, error, None if low is None else low - 1.0, None if high is None else high - 1.0
    )


def _ratio_bound(
    side: int, value: float, control: Linear, direction: Float64, users: int, level: float
) -> float | None:
    """The first ratio R on one side of the estimate that is rejected; None without any.

    R is rejected where both statistics of ``treatment - R control`` are beyond Student's quantile,
    as in `reach`.
    """
    c = control.influence
    # Power sums of direction - d c are polynomials in d, the distance from the estimate.
    second, third, fourth = (
        [comb(k, j) * (-1) ** j * float((direction ** (k - j) * c**j).sum()) for j in range(k + 1)]
        for k in (2, 3, 4)
    )

    def excess(distance: float) -> float:
        variance = _polynomial(second, distance)
        if variance <= 0:
            return np.inf
        statistic = -distance * control.value / variance**0.5
        moved = transformed(statistic, _polynomial(third, distance) / variance**1.5)
        freedom = _freedom(variance, _polynomial(fourth, distance), users)
        nearer = min(-side * statistic, -side * moved)
        return float(nearer - stdtrit(freedom, 0.5 + level / 2))

    step = second[0] ** 0.5 / control.value
    inside = 0.0
    for power in np.arange(*_SEARCH):
        outside = side * step * float(2.0**power)
        if excess(outside) > 0:
            return value + float(brentq(excess, *sorted((inside, outside)), xtol=1e-12 * step))
        inside = outside
    return None


def _polynomial(coefficients: list[float], at: float) -> float:
    total = 0.0
    for one in reversed(coefficients):
        total = total * at + one
    return total


def weighted_count(
    top: Float64,
    normaliser: float,
    largest: float,
    level: float = LEVEL,
    variance: float = 0.0,
) -> tuple[float, float]:
    """Bounds of a rate of rare events with unequal weights (Fay & Feuer, Stat. Med. 1997).

    Events are Poisson counts with weights; the bounds come from two gamma distributions and are
    exact (Garwood's) for equal weights. Without any event the upper bound is the weight of one
    more event times 3.69 at 95 %.

    Args:
        top: float64[G], sum of weight times event of each user, non-negative.
        normaliser: What the sums are divided by.
        largest: The largest weight that one more event could have.
        level: Confidence.
        variance: Of the rate if it is known to be larger than the events' own, because the
            normaliser is noisy too.

    Returns:
        (low, high).
    """
    tail = (1.0 - level) / 2.0
    rate = float(top.sum()) / normaliser
    variance = max(float((top**2).sum()) / normaliser**2, variance if rate > 0 else 0.0)
    extra = largest / normaliser
    low = 0.0
    if variance > 0:
        low = variance / (2 * rate) * float(chi2.ppf(tail, 2 * rate**2 / variance))
    up, spread = rate + extra, variance + extra**2
    high = spread / (2 * up) * float(chi2.ppf(1 - tail, 2 * up**2 / spread)) if up > 0 else 0.0
    return low, high


def share_interval(
    linear: Linear,
    events: Float64,
    weight: Float64,
    normaliser: float,
    level: float = LEVEL,
    largest: float | None = None,
) -> Estimate | None:
    """Interval of a share: Student's, or that of rare events where events or non-events are few.

    Args:
        linear: The estimate.
        events: float64[G], per user the sum of weight times event.
        weight: float64[G], per user the sum of weights.
        normaliser: What the sums are divided by; of SNIPS the total weight.
        level: Confidence.
        largest: Weight of the heaviest single row; the largest sum of a user if None.
    """
    plain = Estimate.of(linear, level)
    if plain is None or plain.low is None or plain.high is None:
        return plain
    low, high, variance = plain.low, plain.high, plain.standard_error**2
    if largest is None:
        largest = float(weight.max(initial=0.0))
    misses = np.maximum(weight - events, 0.0)
    if effective_sample_size(events) < RARE_EVENTS:
        low, high = weighted_count(events, normaliser, largest, level, variance)
    elif effective_sample_size(np.where(misses > 1e-12 * largest, misses, 0.0)) < RARE_EVENTS:
        lower, upper = weighted_count(misses, normaliser, largest, level, variance)
        total = float(weight.sum()) / normaliser
        low, high = total - upper, total - lower
    return Estimate(plain.value, plain.standard_error, max(low, 0.0), high)


def difference_of(
    treatment: Estimate, control: Estimate, paired: Linear, level: float = LEVEL
) -> Estimate | None:
    """Interval of a difference from the two intervals and their correlation (MOVER).

    Zou & Donner, Stat. Med. 2008. Used where the two intervals are not symmetric; never narrower
    than the Student interval of the paired difference.
    """
    plain = Estimate.of(paired, level)
    bounds = (treatment.low, treatment.high, control.low, control.high)
    if plain is None or any(b is None for b in bounds):
        return plain and Estimate(plain.value, plain.standard_error, None, None)
    assert plain.low is not None and plain.high is not None
    product = treatment.standard_error * control.standard_error
    variance = treatment.standard_error**2 + control.standard_error**2
    correlation = 0.0
    if product > 0:
        correlation = (variance - plain.standard_error**2) / (2 * product)
        correlation = float(np.clip(correlation, -1.0, 1.0))
    down = mover(treatment.value - bounds[0], bounds[3] - control.value, correlation)  # type: ignore[operator]
    up = mover(bounds[1] - treatment.value, control.value - bounds[2], correlation)  # type: ignore[operator]
    return Estimate(
        plain.value,
        plain.standard_error,
        min(plain.low, plain.value - down),
        max(plain.high, plain.value + up),
    )


def mover(first: float, second: float, correlation: float) -> float:
    """How far a difference reaches, from how far its two correlated parts do."""
    return float(np.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0)))


def empirical_bernstein(
    values: Float64, most: float, level: float = LEVEL, least: float = 0.0
) -> Estimate:
    """Finite-sample bounds of the mean of bounded independent values (Maurer & Pontil, COLT 2009).

    Holds for every sample size and distribution, and is therefore wide.

    Args:
        values: float64[G], one per user, such as the user's share of an IPS estimate.
        most: Largest possible value.
        level: Confidence.
        least: Smallest possible value.
    """
    n = len(values)
    if n < 2:
        return Estimate(float(values.mean()), float("nan"), None, None)
    log = float(np.log(4.0 / (1.0 - level)))
    variance = float(values.var(ddof=1))
    half = float(np.sqrt(2 * variance * log / n)) + 7 * (most - least) * log / (3 * (n - 1))
    value = float(values.mean())
    low, high = max(value - half, least), min(value + half, most)
    return Estimate(value, float(np.sqrt(variance / n)), low, high)
