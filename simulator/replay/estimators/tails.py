"""Estimate what one huge outcome cannot move: winsorised means with their bias, and quantiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from simulator.replay.estimators.intervals import LEVEL, Estimate, degrees_of_freedom
from simulator.replay.estimators.linear import Float64, Linear, ratio
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
    the quantiles at the bounds of that share, so no density is estimated. The standard error is a
    fourth of the interval's width.

    Args:
        rows: Logged choices.
        share: In (0, 1); 0.5 is the median.
        level: Confidence.

    Returns:
        None where the log says nothing; a bound is None where the share's bound is beyond 0 or 1.
    """
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
    low = at(share - half) if share - half > 0 else None
    high = at(share + half) if share + half < 1 else None
    error = float("nan") if low is None or high is None else (high - low) / 4
    return Estimate(value, error, low, high)
