"""Test whether the effect is the same in all segments.

Per segment: the ordinary comparison, with Holm's correction over the segments, in the p values and
in the level of the intervals alike. Over the segments: one test of interaction. Segments of a user
must be known before the experiment and exclude each other.

Absolute effects d_i with variances v_i: Cochran's ``Q = sum (d_i - d)^2 / v_i``, d their mean
weighted by 1 / v_i (Cochran, Biometrics 10, 1954), which for independent segments is the Wald test
of all differences. Relative effects: the lift r common to all segments is just as possible as

    Q(r) = sum (b_i - (1 + r) a_i)^2 / (var b_i + (1 + r)^2 var a_i)

is small; Q is its minimum. With one segment Q(r) is the square of Fieller's statistic, so a noisy
control in a small segment widens that segment's say instead of distorting its lift. Estimates of
one segment that covary, as adjusted ones do, have 2 cov_i taken off v_i and 2 (1 + r) cov_i off the
denominator of Q(r). Both are chi-square with one degree of freedom less than segments, given users
enough per segment and arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import ArmEstimate, estimate_arms
from reports.statistics.lift import Comparison, compare
from reports.statistics.moments import Float, Moments
from reports.statistics.multiplicity import adjusted_confidence, holm

_GRID = 400


class SegmentEffect(NamedTuple):
    """One segment.

    Attributes:
        name: Of the segment.
        users: In both arms.
        comparison: Treatment against control; its intervals have the corrected level, its p
            value is the uncorrected one.
        p_adjusted: Corrected over the segments; below alpha exactly if the interval excludes zero.
    """

    name: str
    users: int
    comparison: Comparison
    p_adjusted: float


class Interaction(NamedTuple):
    """Whether segments differ.

    Attributes:
        statistic: Q.
        degrees_of_freedom: Segments less one.
        p_value: Of equal effects in all segments.
        common: The common effect that fits best; a difference or a lift.
        inconsistency: I^2, the share of the variation of effects that is not sampling error
            (Higgins & Thompson, Statistics in Medicine 21, 2002).
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    common: float
    inconsistency: float


class Heterogeneity(NamedTuple):
    """All segments of one segmentation, and whether they differ."""

    segments: list[SegmentEffect]
    interaction: Interaction


def heterogeneity(
    segments: Mapping[str, tuple[Moments, Moments]],
    *,
    relative: bool = True,
    confidence: float = 0.95,
) -> Heterogeneity:
    """Effects per segment and their interaction.

    Args:
        segments: Control and treatment of each segment, as for ``estimate_arms``; covariates are
            adjusted for within each.
        relative: Whether the interaction is one of lifts or of differences. A lift that is the
            same everywhere is a difference that is not, and the reverse.
        confidence: One less the chance of any interval that wrongly excludes zero.

    Raises:
        StatisticsError: fewer than two segments, or one that cannot be compared (named).
    """
    arms = {name: _estimates(name, pair) for name, pair in segments.items()}
    interaction = interaction_test(list(arms.values()), relative=relative)
    p_values = [_compare(name, pair, confidence).p_value for name, pair in arms.items()]
    results = []
    for (name, (control, treatment)), p, adjusted in zip(
        arms.items(), p_values, holm(p_values), strict=True
    ):
        level = adjusted_confidence(p, adjusted, len(arms), confidence)
        comparison = _compare(name, (control, treatment), level)
        users = control.users + treatment.users
        results.append(SegmentEffect(name, users, comparison, adjusted))
    return Heterogeneity(results, interaction)


def interaction_test(
    arms: Sequence[tuple[ArmEstimate, ArmEstimate]],
    *,
    relative: bool = True,
    covariances: Sequence[float] | None = None,
) -> Interaction:
    """Test of equal effects in independent segments.

    Args:
        arms: Control and treatment of each segment.
        relative: Lifts, or differences.
        covariances: Between the two estimates of each segment; none if None.

    Raises:
        StatisticsError: fewer than two segments, no variance, or a control of zero (relative).
    """
    if len(arms) < 2:
        raise StatisticsError("an interaction needs at least two segments.", f"There: {len(arms)}.")
    a, b = (np.array([pair[i].adjusted for pair in arms]) for i in (0, 1))
    va, vb = (np.array([pair[i].variance for pair in arms]) for i in (0, 1))
    shared = np.zeros(len(arms)) if covariances is None else np.asarray(covariances, np.float64)
    if not (va + vb - 2.0 * shared > 0.0).all():
        raise StatisticsError("the metric does not vary.", "In at least one segment.")
    if relative:
        common, statistic = _common_lift(a, b, va, vb, shared)
    else:
        weights = 1.0 / (va + vb - 2.0 * shared)
        common = float(weights @ (b - a) / weights.sum())
        statistic = float(weights @ (b - a - common) ** 2)
    freedom = len(arms) - 1
    return Interaction(
        statistic,
        freedom,
        float(stats.chi2.sf(statistic, freedom)),
        common,
        max(0.0, 1.0 - freedom / statistic) if statistic > 0.0 else 0.0,
    )


def interactions_adjusted(interactions: Mapping[str, Interaction]) -> dict[str, float]:
    """P values of several segmentations of the same users, Holm-corrected."""
    p_values = [interaction.p_value for interaction in interactions.values()]
    return dict(zip(interactions, holm(p_values), strict=True))


def _common_lift(a: Float, b: Float, va: Float, vb: Float, shared: Float) -> tuple[float, float]:
    if (a == 0.0).any():
        raise StatisticsError(
            "a segment has no relative effect.",
            "Its control is zero.",
            "Use relative=False, or merge it with another segment.",
        )

    def q(ratio: Float) -> Float:
        gap = b - np.multiply.outer(ratio, a)
        variance = vb + np.multiply.outer(np.square(ratio), va)
        variance = variance - 2.0 * np.multiply.outer(ratio, shared)
        return np.asarray((gap**2 / np.where(variance > 0.0, variance, np.nan)).sum(axis=-1))

    # For ratios above zero every term rises to both sides of its own ratio (its derivative has the
    # sign of R - b / a), so the minimum lies between them; there may be several: a grid first.
    ratios = np.sort(b / a)
    if ratios[0] == ratios[-1]:
        return float(ratios[0] - 1.0), 0.0
    grid = np.unique(np.concatenate([np.linspace(ratios[0], ratios[-1], _GRID), ratios]))
    values = q(grid)
    best = int(np.nanargmin(values))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(
        lambda ratio: float(q(np.asarray(ratio))),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-12 * max(abs(low), abs(high), 1.0)},
    )
    if found.fun <= values[best]:
        return float(found.x) - 1.0, float(found.fun)
    return float(grid[best]) - 1.0, float(values[best])


def _estimates(name: str, arms: tuple[Moments, Moments]) -> tuple[ArmEstimate, ArmEstimate]:
    try:
        control, treatment = estimate_arms(arms)
    except StatisticsError as error:
        raise _within(name, error) from error
    return control, treatment


def _compare(name: str, arms: tuple[ArmEstimate, ArmEstimate], confidence: float) -> Comparison:
    try:
        return compare(*arms, confidence=confidence)
    except StatisticsError as error:
        raise _within(name, error) from error


def _within(name: str, error: StatisticsError) -> StatisticsError:
    hint = error.hint or "Merge the segment with another."
    return StatisticsError(f"segment {name!r}: {error.problem}", error.detail, hint)
