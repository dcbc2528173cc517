"""Test whether the arms were alike before the experiment.

Randomisation makes the arms alike in everything that was before it, apart from chance. One test of
all covariates at once needs no correction for their number and uses their correlation: with the
centred cross-products B between and W within G arms, Pillai's trace

    T = trace B (B + W)^(-1),    F = (T / s) / (1 - T / s) * (df2 / df1),
    s = min(k, G - 1),  m = max(k, G - 1),  df1 = s m,  df2 = s (N - G - k + s)

(Pillai, Annals of Mathematical Statistics 26, 1955; for two arms Hotelling's T^2, exactly F for
normal covariates). However skewed they are: over all assignments of the same users the mean of T is
exactly k (G - 1) / (N - 1), that of the normal law. Covariates that do not vary, or only together
with others, are left out.

Carry-over: arms that differ beforehand in the metric itself, as after an experiment that used the
same split, bias its unadjusted lift. Comparing the metric of the pre-period is an A/A test of these
very arms; the covariate adjustment removes the part of the difference that goes on.

Assumptions: users are independent and assigned independently of their past.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.lift import Comparison, compare
from reports.statistics.moments import Float, Moments
from reports.statistics.multiplicity import holm

_COLLINEAR = 1e-9


class CovariateBalance(NamedTuple):
    """One covariate.

    Attributes:
        largest_difference: Between two arms' means, in standard deviations within arms.
        p_value: F test of equal means.
        p_adjusted: Corrected over the covariates (Holm).
    """

    largest_difference: float
    p_value: float
    p_adjusted: float


class Balance(NamedTuple):
    """Of all covariates.

    Attributes:
        trace: Pillai's.
        statistic: F.
        degrees_of_freedom: Of F.
        p_value: Of arms that are alike in all covariates.
        covariates: One per column, None where it does not vary.
    """

    trace: float
    statistic: float
    degrees_of_freedom: tuple[float, float]
    p_value: float
    covariates: list[CovariateBalance | None]


class CarryOver(NamedTuple):
    """The pre-period of one metric.

    Attributes:
        before: Treatment against control before the experiment.
        removed: What covariate adjustment takes off the difference during the experiment, in units
            of the metric: treatment less control of the unadjusted values, less the same of the
            adjusted ones.
        removed_errors: The same in standard errors of the adjusted difference.
    """

    before: Comparison
    removed: float
    removed_errors: float


def covariate_balance(arms: Sequence[Moments]) -> Balance:
    """Joint test of equal covariate means.

    Args:
        arms: Moments of the covariates alone, the same columns in each arm.

    Raises:
        StatisticsError: fewer than two arms, an empty one, no covariate that varies, or fewer users
            than covariates.
    """
    if len(arms) < 2 or min(arm.users for arm in arms) < 1:
        raise StatisticsError(
            "balance needs at least two arms with users.",
            f"Users per arm: {[arm.users for arm in arms]}.",
            "Check the names of the arms.",
        )
    whole = arms[0]
    for arm in arms[1:]:
        whole = whole.merge(arm)
    within = np.sum([arm.cross for arm in arms], axis=0)
    total = np.diag(whole.cross)
    # What rounding leaves of a column of equal values.
    # Of a column that does not vary rounding leaves about eps of its mean per user.
    varies = total > whole.users * (4.0 * np.finfo(np.float64).eps * whole.mean) ** 2
    if not varies.any():
        raise StatisticsError(
            "balance has nothing to compare.",
            "No covariate varies before the experiment.",
            "Give at least one that does.",
        )
    inverse, rank = _inverse(whole.cross[np.ix_(varies, varies)])
    trace = float(np.trace((whole.cross - within)[np.ix_(varies, varies)] @ inverse))
    groups = len(arms) - 1
    freedom = whole.users - len(arms) - rank
    if freedom + min(rank, groups) <= 0:
        raise StatisticsError(
            "balance needs more users than covariates.",
            f"{whole.users} users, {rank} covariates.",
            "Use fewer covariates.",
        )
    s, m = min(rank, groups), max(rank, groups)
    df1, df2 = float(s * m), float(s * (freedom + s))
    share = min(max(trace / s, 0.0), 1.0)
    statistic = share / (1.0 - share) * df2 / df1 if share < 1.0 else np.inf
    p_value = float(stats.f.sf(statistic, df1, df2))
    single = _single(arms, whole, within, varies)
    return Balance(trace, float(statistic), (df1, df2), p_value, single)


def carry_over(
    control: Moments,
    treatment: Moments,
    *,
    before: tuple[int, int | None],
    confidence: float = 0.95,
) -> CarryOver:
    """Compare the metric of the pre-period.

    Args:
        control: Of the columns (numerator, denominator, covariates), as for ``estimate_arms``.
        treatment: Likewise.
        before: Columns of numerator and denominator of the metric in the pre-period; None for the
            second if it is a mean.
        confidence: Of the intervals.

    Raises:
        StatisticsError: no variance before the experiment or during it.
    """
    pair = (control, treatment)
    past = compare(*estimate_arms([_past(arm, before) for arm in pair]), confidence=confidence)
    now = estimate_arms(pair)
    result = compare(*now, confidence=confidence)
    removed = now[1].value - now[0].value - result.absolute.value
    return CarryOver(past, removed, removed / result.standard_error)


def _past(arm: Moments, before: tuple[int, int | None]) -> Moments:
    numerator, denominator = before
    if denominator is not None:
        return arm.select([numerator, denominator])
    cross = np.zeros((2, 2))
    cross[0, 0] = arm.cross[numerator, numerator]
    return Moments(arm.users, np.array([arm.mean[numerator], 1.0]), cross)


def _inverse(cross: Float) -> tuple[Float, int]:
    """Pseudo-inverse by the correlation matrix, and its rank."""
    scale = np.sqrt(np.diag(cross))
    values, vectors = np.linalg.eigh(cross / np.outer(scale, scale))
    kept = values > _COLLINEAR * values.max()
    half = vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None]
    return half @ half.T, int(kept.sum())


def _single(
    arms: Sequence[Moments], whole: Moments, within: Float, varies: np.ndarray
) -> list[CovariateBalance | None]:
    groups, rest = len(arms) - 1, whole.users - len(arms)
    means = np.stack([arm.mean for arm in arms])
    found: list[tuple[int, float, float]] = []
    for column in np.flatnonzero(varies):
        inside = float(within[column, column])
        between = max(float(whole.cross[column, column]) - inside, 0.0)
        span = float(np.ptp(means[:, column]))
        if rest <= 0 or inside <= 1e-24 * whole.users * float(whole.mean[column]) ** 2:
            # Constant in every arm, and not the same: no chance could do that.
            found.append((int(column), np.inf if span > 0.0 else 0.0, 0.0 if span > 0.0 else 1.0))
            continue
        p = float(stats.f.sf(between / groups / (inside / rest), groups, rest))
        found.append((int(column), span / float(np.sqrt(inside / rest)), p))
    adjusted = holm([p for *_, p in found])
    result: list[CovariateBalance | None] = [None] * len(varies)
    for (index, difference, p), corrected in zip(found, adjusted, strict=True):
        result[index] = CovariateBalance(difference, p, corrected)
    return result
