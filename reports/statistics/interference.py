"""Estimate how far an online test misses the effect on everybody, from people who lived both.

Person i has the values ``C_i`` and ``T_i`` where everybody is served by the control or by the
treatment (twin), and ``Y_i`` where the arms share a platform (online). The difference of an
arm's people, ``D_i = Y_i - C_i`` or ``Y_i - T_i``, is what sharing does to them: a person's
traits, and the luck of the split, fall out of it. So the value that the control arm has online, on
average over splits, is ``mean C over all people + mean D over the control's people``, and likewise
the treatment's. The bias is the lift between these two, less the lift between ``mean T`` and ``mean
C`` (the global treatment effect of Hudgens & Halloran, JASA 103, 2008, and of most designs
against interference). Intervals are of the linearised difference (delta method), with people taken
as independent given the platforms that they met.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from reports.statistics.errors import StatisticsError
from reports.statistics.lift import Interval

Float = NDArray[np.float64]
_CONTROL, _TREATMENT = 0, 1


class OnlineBias(NamedTuple):
    """What an online test finds, and what is true; relative, as fractions.

    Attributes:
        expected: Lift that online tests of these people find on average over splits.
        truth: Lift of treating everybody over treating nobody.
        bias: ``expected`` less ``truth``.
        control_moves: Change of the control arm's value by sharing the platform.
        treatment_moves: Likewise of the treatment arm's.
    """

    expected: Interval
    truth: Interval
    bias: Interval
    control_moves: Interval
    treatment_moves: Interval


class _Value(NamedTuple):
    """A ratio of two means and each person's influence on its logarithm, float64[n]."""

    value: float
    influence: Float


def bias_of_test(
    control: Float, treatment: Float, online: Float, arm: NDArray[np.integer], confidence: float
) -> OnlineBias:
    """The bias of an online test of one metric.

    Args:
        control: float64[n, 2], numerator and denominator of each person under the control.
        treatment: float64[n, 2], of the same people under the treatment.
        online: float64[n, 2], of the same people online.
        arm: int[n], who was in which arm online: 0 control, 1 treatment, others neither.
        confidence: Of the intervals.

    Raises:
        StatisticsError: an arm has fewer than two people, or a value is not above zero.
    """
    n = len(arm)
    sizes = [int((arm == own).sum()) for own in (_CONTROL, _TREATMENT)]
    if min(sizes) < 2:
        raise StatisticsError("an arm of the online test has fewer than two people.")
    before, after = _value(control.mean(axis=0), control), _value(treatment.mean(axis=0), treatment)
    shared = [
        _shared(twin, online, arm == own)
        for own, twin in ((_CONTROL, control), (_TREATMENT, treatment))
    ]
    quantile = float(student.ppf(0.5 + confidence / 2.0, min(sizes) - 1))

    def interval(value: float, influence: Float) -> Interval:
        half = quantile * float(influence.std(ddof=1)) / np.sqrt(n)
        return Interval(value, value - half, value + half)

    def lift(first: _Value, second: _Value) -> _Value:
        ratio = second.value / first.value
        return _Value(ratio - 1.0, ratio * (second.influence - first.influence))

    expected, truth = lift(shared[0], shared[1]), lift(before, after)
    return OnlineBias(
        interval(*expected),
        interval(*truth),
        interval(expected.value - truth.value, expected.influence - truth.influence),
        interval(*lift(before, shared[0])),
        interval(*lift(after, shared[1])),
    )


def _shared(twin: Float, online: Float, members: NDArray[np.bool_]) -> _Value:
    """An arm's value online, on average over splits."""
    moved = (online - twin)[members]
    mean = twin.mean(axis=0) + moved.mean(axis=0)
    own = np.zeros_like(twin)
    own[members] = (moved - moved.mean(axis=0)) * (len(twin) / len(moved))
    return _value(mean, twin - twin.mean(axis=0) + own + mean)


def _value(mean: Float, rows: Float) -> _Value:
    """The ratio of means, and the influence of rows that have these means."""
    if not (mean > 0.0).all():
        raise StatisticsError("a metric that is not above zero has no relative lift.")
    relative = (rows - mean) / mean
    return _Value(float(mean[0] / mean[1]), relative[:, 0] - relative[:, 1])
