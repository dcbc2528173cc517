"""Estimate what one huge outcome cannot move: winsorised means with their bias, and quantiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from simulator.replay.estimators.intervals import (
    LEVEL,
    Estimate,
    degrees_of_freedom,
    mover,
)
from simulator.replay.estimators.linear import Float64, Linear, effective_sample_size, ratio
from simulator.replay.estimators.rows import Rows
from simulator.replay.estimators.single import self_normalised, self_normalised_doubly_robust

KEPT = 0.99
"""Share of the amounts above 0 that winsorising leaves as they are."""


def cap_of(outcome: Float64, kept: float = KEPT) -> float:
    """The amount that a share ``kept`` of all amounts above 0 does not exceed; 0 without any."""
    some = outcome[outcome > 0]
    return float(np.quantile(some, kept, method="inverted_cdf")) if len(some) else 0.0


def cut_share(outcome: Float64, cap: float) -> float:
    """Share of the summed outcome that lies above the cap: the bias if weights were all equal."""
    total = float(outcome.sum())
    return float(np.maximum(outcome - cap, 0.0).sum()) / total if total > 0 else 0.0


def winsorised(rows: Rows, cap: float) -> Linear | None:
    """Mean of ``min(outcome, cap)`` under the target (Tukey; Dixon, Ann. Math. Stat. 1960).

    Self-normalised, and doubly robust where there is a reward model, which may be that of the whole
    outcome. Below the mean by what the target earns above the cap.
    """
    capped = replace(rows, outcome=np.minimum(rows.outcome, cap))
    return self_normalised(capped) if rows.model is None else self_normalised_doubly_robust(capped)


def quantile(rows: Rows, share: float, level: float = LEVEL) -> Estimate | None:
    """A quantile of the outcome under the target, with Woodruff's interval (JASA 1952).

    The smallest outcome that the target's weighted distribution reaches a share at. Its bounds are
    the quantiles at the bounds of that share, so no density is estimated. A share is never known
    better than by the upper limit of a count of 0, so that the largest outcome of a small log is no
    upper bound. The standard error is a fourth of the interval's width.

    Args:
        rows: Logged choices.
        share: In (0, 1); 0.5 is the median.
        level: Confidence.

    Returns:
        None where the log says nothing; a bound is None where the share's bound is beyond 0 or 1.
    """
    found = _woodruff(rows, share, level)
    return None if found is None else found[0]


def quantile_effect(
    treatment: Rows, control: Rows, share: float, level: float = LEVEL
) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """Quantiles of the outcome under two targets, and their difference, paired by user.

    The interval of the difference comes from the two intervals and their correlation (Zou & Donner,
    Stat. Med. 2008). A quantile moves with the share below it, by a factor that does not depend on
    the user, so that two quantiles correlate as these shares do.

    Args:
        treatment: Logged choices with one target's weights.
        control: The same choices with another's.
        share: As for `quantile`.
        level: Confidence.

    Returns:
        Treatment, control, treatment less control.
    """
    first, second = _woodruff(treatment, share, level), _woodruff(control, share, level)
    if first is None or second is None:
        return first and first[0], second and second[0], None
    (a, below_a), (b, below_b) = first, second
    product = below_a.standard_error * below_b.standard_error
    correlation = below_a.covariance(below_b) / product if product > 0 else 0.0
    return a, b, _difference(a, b, float(np.clip(correlation, -1.0, 1.0)))


def _difference(first: Estimate, second: Estimate, correlation: float) -> Estimate:
    value = first.value - second.value
    low = high = None
    if first.low is not None and second.high is not None:
        low = value - mover(first.value - first.low, second.high - second.value, correlation)
    if first.high is not None and second.low is not None:
        high = value + mover(first.high - first.value, second.value - second.low, correlation)
    error = float("nan") if low is None or high is None else (high - low) / 4
    return Estimate(value, error, low, high)


def _woodruff(rows: Rows, share: float, level: float) -> tuple[Estimate, Linear] | None:
    """The quantile with its interval, and the linearised share of outcomes up to it."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"share is {share}, expected a number between 0 and 1")
    order = np.argsort(rows.outcome, kind="stable")
    total = float(rows.weight.sum())
    if total <= 0:
        return None
    reached = np.cumsum(rows.weight[order]) / total
    sorted_outcome = rows.outcome[order]

    def at(wanted: float) -> float:
        # Rounding must not skip the outcome at which the share is reached exactly.
        found = int(np.searchsorted(reached, wanted - 1e-12))
        return float(sorted_outcome[min(found, len(order) - 1)])

    value = at(share)
    below = (rows.outcome <= value).astype(np.float64)
    linear = ratio(rows.weight * below, rows.weight, rows.user, rows.n_users)
    if linear is None:
        return None
    users = int(linear.contributes.sum())
    freedom = degrees_of_freedom(linear.influence, users)
    half = float(stdtrit(freedom, 0.5 + level / 2)) * linear.standard_error
    # Where no row lies beyond, a share of that size may: the upper limit of a count of 0.
    unseen = -np.log((1.0 - level) / 2.0) / effective_sample_size(rows.weight)
    half = max(half, float(unseen))
    low = at(share - half) if share - half > 0 else None
    high = at(share + half) if share + half < 1 else None
    error = float("nan") if low is None or high is None else (high - low) / 4
    return Estimate(value, error, low, high), linear
