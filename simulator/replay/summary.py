"""Compare two estimates of a metric: intervals, p value, detectable effect, verdict."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from simulator.replay.diagnostics import events, judge
from simulator.replay.estimators import Estimate, empirical_likelihood, fieller
from simulator.replay.estimators.bootstrap import (
    bootstrap_lift,
    bootstrap_of,
    bootstrap_p_value,
)
from simulator.replay.estimators.intervals import (
    LEVEL,
    RARE_EVENTS,
    degrees_of_freedom,
    difference_of,
    p_value,
    reach,
    share_interval,
)
from simulator.replay.estimators.likelihood import (
    likelihood_lift,
    likelihood_of,
    likelihood_p_value,
    wider,
)
from simulator.replay.estimators.linear import Linear, effective_sample_size
from simulator.replay.further.intervals import of_users
from simulator.replay.interval_method import BOOTSTRAP, LIKELIHOOD, STUDENT, Intervals
from simulator.replay.result import Comparison, Overlap
from simulator.replay.valuation import Valued

_POWER = 0.8
PREFERENCE = ("sndr", "cascade", "snips", "matching", "ips")
"""Which estimator to read first: the one with most information per row among those whose intervals
held their promise on logs of known truth (docs/replay.md). Never chosen by its result."""


def recommended(estimators: Collection[str]) -> str:
    """The estimator to read first."""
    return next((name for name in PREFERENCE if name in estimators), next(iter(estimators)))


def compare(
    treatment: Valued,
    control: Valued,
    overlaps: list[Overlap],
    outcome: NDArray[np.float64],
    *,
    share: bool,
    same: bool,
    amount: bool = False,
    interval: Intervals = STUDENT,
) -> Comparison:
    """One metric by one estimator.

    Args:
        treatment: Its value.
        control: Its value.
        overlaps: Of both policies.
        outcome: float64[N], the logged outcome.
        share: Whether the outcome is 0/1.
        amount: Whether it is a time.
        same: Whether both are one policy, so that the difference is 0 exactly.
        interval: How intervals are computed. A share with few events keeps the interval of
            weighted counts: so few events cannot be resampled.
    """
    effective = min(treatment.effective, control.effective)
    linears = [treatment.linear, control.linear]
    if treatment.cap is not None:
        outcome = np.minimum(outcome, treatment.cap)
    verdict, reasons = judge(
        overlaps,
        effective,
        events(effective, outcome),
        linears,
        treatment.biased,
        amount,
    )
    if interval.method == BOOTSTRAP and share and (_rare(treatment) or _rare(control)):
        interval = STUDENT
    first = _interval(treatment, share, interval)
    second = _interval(control, share, interval)
    if treatment.linear is None or control.linear is None:
        return Comparison(
            first, second, None, None, None, None, effective, verdict, reasons, treatment.parameter
        )
    paired = treatment.linear - control.linear
    if same:
        zero = Estimate(0.0, 0.0, 0.0, 0.0)
        return Comparison(
            first, second, zero, zero, None, None, effective, verdict, reasons,
            treatment.parameter, (treatment.linear, control.linear),
        )  # fmt: skip
    difference, relative, p = _judged(treatment.linear, control.linear, LEVEL, interval)
    resampled = interval.method == BOOTSTRAP
    if not resampled and difference is not None and first is not None and second is not None:
        student_like = _is_student(first, treatment.linear) and _is_student(second, control.linear)
        if not student_like:
            difference = wider(difference_of(first, second, paired), difference)
    return Comparison(
        treatment=first,
        control=second,
        difference=difference,
        relative=relative,
        p_value=p,
        detectable=detectable(paired, control.linear),
        effective=effective,
        verdict=verdict,
        reasons=reasons,
        parameter=treatment.parameter,
        linear=(treatment.linear, control.linear),
        interval=interval,
    )


def _judged(
    treatment: Linear, control: Linear, level: float, interval: Intervals
) -> tuple[Estimate | None, Estimate | None, float | None]:
    """Difference, relative lift and p value of a difference of 0."""
    paired = treatment - control
    if interval.method == BOOTSTRAP:
        draws, seed = interval.draws, interval.seed
        return (
            bootstrap_of(paired, draws=draws, seed=seed, level=level),
            bootstrap_lift(treatment, control, draws=draws, seed=seed, level=level),
            bootstrap_p_value(paired, draws=draws, seed=seed),
        )
    difference, relative = Estimate.of(paired, level), fieller(treatment, control, level)
    p = p_value(paired)
    if interval.method == LIKELIHOOD:
        difference = wider(difference, likelihood_of(paired, level))
        relative = wider(relative, likelihood_lift(treatment, control, level))
        other = likelihood_p_value(paired)
        p = p if p is None or other is None else max(p, other)
    return difference, relative, p


def _interval(valued: Valued, share: bool, interval: Intervals) -> Estimate | None:
    linear = valued.linear
    if linear is None:
        return None
    if interval.method == BOOTSTRAP:
        return _never_empty(of_users(valued, interval.draws, interval.seed), linear)
    plain = Estimate.of(linear)
    if valued.events is None or valued.weights is None or valued.bottom is None:
        if interval.method == LIKELIHOOD:
            plain = wider(plain, likelihood_of(linear))
        return _never_empty(plain, linear)
    if share:
        plain = share_interval(
            linear,
            valued.events,
            valued.weights,
            float(valued.bottom.sum()),
            largest=valued.heaviest,
        )
    if interval.method == LIKELIHOOD:
        plain = wider(plain, empirical_likelihood(valued.events, valued.bottom))
    return _never_empty(plain, linear)


def _rare(valued: Valued) -> bool:
    """Whether events or non-events of a share are too few to be resampled."""
    if valued.events is None or valued.weights is None:
        return False
    misses = np.maximum(valued.weights - valued.events, 0.0)
    return any(effective_sample_size(one) < RARE_EVENTS for one in (valued.events, misses))


def _never_empty(estimate: Estimate | None, linear: Linear) -> Estimate | None:
    """No interval of width zero: without any variation the data give no upper bound."""
    if estimate is None or estimate.standard_error > 0 or estimate.low != estimate.high:
        return estimate
    return Estimate(estimate.value, 0.0, min(0.0, linear.value), None)


def _is_student(estimate: Estimate, linear: Linear) -> bool:
    plain = Estimate.of(linear, LEVEL)
    return plain is not None and (plain.low, plain.high) == (estimate.low, estimate.high)


def detectable(paired: Linear, control: Linear) -> float | None:
    """Smallest relative effect that a two-sided 5 % test finds with 80 % power."""
    if control.value <= 0 or paired.standard_error == 0:
        return None
    users = int(paired.contributes.sum())
    freedom = degrees_of_freedom(paired.influence, users)
    below, _ = reach(paired.influence, users)
    distance = below + float(student.ppf(_POWER, freedom))
    return distance * paired.standard_error / control.value


def at_level(found: Comparison, level: float) -> tuple[Estimate | None, Estimate | None]:
    """Difference and relative lift at another level of confidence.

    An interval that is not Student's is stretched by the ratio of Student's widths.
    """
    if found.linear is None or found.difference is None or level == LEVEL:
        return found.difference, found.relative
    treatment, control = found.linear
    usual, _, _ = _judged(treatment, control, LEVEL, found.interval)
    wanted, relative, _ = _judged(treatment, control, level, found.interval)
    if usual is None or wanted is None or not 0.0 < usual.width() < np.inf:
        return found.difference, found.relative
    if (found.difference.low, found.difference.high) == (usual.low, usual.high):
        return wanted, relative
    stretch = wanted.width() / usual.width()
    value = found.difference.value
    low, high = found.difference.low, found.difference.high
    difference = Estimate(
        value,
        found.difference.standard_error,
        None if low is None else value - stretch * (value - low),
        None if high is None else value + stretch * (high - value),
    )
    return difference, relative
