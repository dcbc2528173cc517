"""Estimate one metric under one policy by the estimators that are shown when asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators import Rows
from simulator.replay.estimators.names import SLATES
from simulator.replay.estimators.nested import nested_ips
from simulator.replay.estimators.single import (
    clipped_ips,
    inverse_propensity,
    marginalised_ips,
    sub_gaussian_dr,
    sub_gaussian_ips,
)
from simulator.replay.estimators.tuning import Estimator, floors, limits, slope, smoothings
from simulator.replay.estimators.weights import implicit_exploration
from simulator.replay.further.orders import values_of_orders
from simulator.replay.valuation import (
    TUNED,
    CommentStage,
    Measured,
    Valued,
    Weighted,
    cascade_outcome,
    comment_column,
    effective_rows,
    weighted_value,
)

Float64 = NDArray[np.float64]

_CATEGORY = "what a video is worth beyond its category is in no interval"
_ASSUMED = "that its assumption may not hold is in no interval"
_NO_MODEL = "there is no reward model of this metric"
_NEVER = {
    "mixed_ips": "the log tells the chance under the policy that wrote a row, not under each of "
    "several",
    "mrdr": "it needs a reward model per policy, and replay fits one for all (in Python: "
    "weights.more_robust)",
}


def further_values(
    measured: Measured, policy: Weighted, wanted: tuple[str, ...]
) -> tuple[dict[str, Valued], dict[str, str]]:
    """Estimates by estimator, and why the others of those that are wanted have none.

    Args:
        measured: One metric of the logged impressions.
        policy: Weights.
        wanted: Names out of `simulator.replay.estimators.names.MORE`.
    """
    metric, y, keep = measured.metric, measured.y, measured.keep
    name, model = measured.name, measured.model
    stage = policy.comments if metric.comments else None
    rows = policy.rows(y, keep)
    moment = policy.second_moment[keep]
    whole = np.ones(len(keep)) if stage is None else stage.whole[keep]
    all_moment = moment if stage is None else moment * stage.second_moment[keep]
    weighted = rows.with_weight(rows.weight * whole)
    size = effective_rows(all_moment, weighted.weight)
    found = _tuned(weighted, whole, size, wanted)
    refused = {n: why for n, why in _NEVER.items() if n in wanted}
    if "sub_gaussian_dr" in wanted:
        if model is None or name not in policy.expected:
            refused["sub_gaussian_dr"] = _NO_MODEL
        else:
            corrected = rows
            if stage is not None:
                cascade, cascaded = cascade_outcome(measured, stage)
                corrected = rows.with_outcome(cascade[keep])
                square = cascaded[keep]
                size = effective_rows(moment * square, rows.weight * np.sqrt(square))
            full = dataclasses.replace(
                corrected, model=model[keep], expected=policy.expected[name][keep]
            )
            tuned = slope(lambda p: sub_gaussian_dr(full, p), smoothings())
            if tuned is not None:
                found["sub_gaussian_dr"] = Valued(
                    tuned.linear, size, parameter=tuned.parameter, biased=TUNED
                )
    if "marginalised_ips" in wanted:
        if policy.marginal is None or policy.marginal_moment is None:
            refused["marginalised_ips"] = policy.no_marginal
        else:
            marginal = policy.marginal[keep] * whole
            square = policy.marginal_moment[keep]
            square = square if stage is None else square * stage.second_moment[keep]
            valued = weighted_value(
                marginalised_ips(rows, marginal),
                rows.with_weight(marginal),
                effective_rows(square, marginal),
                by_rows=True,
            )
            found["marginalised_ips"] = dataclasses.replace(valued, biased=_CATEGORY)
    orders, reasons = _orders(measured, rows, moment, stage, wanted)
    return found | orders, refused | reasons


def _tuned(rows: Rows, whole: Float64, size: float, wanted: tuple[str, ...]) -> dict[str, Valued]:
    """IPS with smaller weights, by a parameter that SLOPE chooses."""

    def implicit(floor: float) -> Rows:
        return rows.with_weight(implicit_exploration(rows.target, rows.logging, floor) * whole)

    choices: dict[str, tuple[Estimator, list[float]]] = {
        "clipped_ips": (lambda p: clipped_ips(rows, p), limits(rows.weight)),
        "implicit_ips": (lambda p: inverse_propensity(implicit(p)), floors(rows.logging)),
        "sub_gaussian_ips": (lambda p: sub_gaussian_ips(rows, p), smoothings()),
    }
    found = {}
    for name, (estimator, parameters) in choices.items():
        if name in wanted and (tuned := slope(estimator, parameters)) is not None:
            found[name] = Valued(tuned.linear, size, parameter=tuned.parameter, biased=TUNED)
    return found


def _orders(
    measured: Measured,
    rows: Rows,
    moment: Float64,
    stage: CommentStage | None,
    wanted: tuple[str, ...],
) -> tuple[dict[str, Valued], dict[str, str]]:
    """Estimators of slates: what no comment accounts for is as logged."""
    metric, y, keep = measured.metric, measured.y, measured.keep
    own = [name for name in SLATES if name in wanted]
    if stage is None or stage.orders is None:
        why = "the order of comments cannot move this metric"
        if metric.per_comment:
            why = "one comment is valued here, not an order"
        elif metric.comments:
            why = "the order of comments stays as logged"
        return {}, dict.fromkeys(own, why)
    column, n = comment_column(metric), len(y)
    part = np.nan_to_num(stage.values[column])
    rest = y - np.bincount(stage.impression, weights=part, minlength=n)
    values, refused = values_of_orders(stage.orders, column, part, tuple(own))
    impression = stage.orders.impression
    count = np.bincount(impression, minlength=n)
    cascaded = np.bincount(stage.impression, weights=stage.cascade_moment, minlength=n)
    seen = np.bincount(stage.impression, minlength=n)
    found = {}
    for name, (earned, drawn) in values.items():
        section = rest + np.bincount(impression, weights=earned, minlength=n)
        if name == "standard":
            square = stage.second_moment
        elif drawn is None:
            square = np.where(seen > 0, cascaded / np.maximum(seen, 1), 1.0)
        else:
            total = np.bincount(impression, weights=drawn, minlength=n)
            square = np.where(count > 0, total / np.maximum(count, 1), 1.0)
        square = square[keep]
        found[name] = Valued(
            nested_ips(rows.weight, section[keep], rows.user, rows.n_users),
            effective_rows(moment * square, rows.weight * np.sqrt(square)),
            biased="" if drawn is None else _ASSUMED,
        )
    return found, refused
