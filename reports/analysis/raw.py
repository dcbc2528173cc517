"""Compute every arm's metrics as they are: before adjustment, capping or any comparison.

They belong to an arm alone, so the control has the same value beside every treatment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.plan import AnalysisPlan, Metric
from reports.statistics.errors import StatisticsError
from reports.statistics.estimates import estimate_arms
from reports.statistics.moments import Float, Moments
from reports.users.table import AT_RISK, Users, matrix


@dataclass(frozen=True)
class RawValue:
    """One metric in one arm.

    Attributes:
        users: In the arm.
        value: Total over base; NaN without a base.
        standard_error: Of ``value``; NaN where it cannot be computed.
        total: Sum of the numerator over users and days, scaled.
        base: What it is divided by: user-days, or the sum of the denominator.
    """

    users: int
    value: float
    standard_error: float
    total: float
    base: float


def raw_values(
    users: Users, plan: AnalysisPlan, arms: Sequence[str]
) -> dict[str, dict[str, RawValue]]:
    """Every metric of the plan in every arm, by metric and arm, in one reading of the users."""
    names = list(dict.fromkeys((plan.primary, *plan.guardrails, *plan.secondary)))
    metrics = [plan.metric(name) for name in names]
    moments: dict[tuple[str, str], Moments] = {}
    sums: dict[tuple[str, str], Float] = {}
    at_risk = False
    for part in users.parts():
        at_risk = AT_RISK in part.during.columns
        for chosen in metrics:
            values = matrix(part.during, chosen, users.days)
            for arm in arms:
                own = values[part.rows(arm)]
                key = (chosen.name, arm)
                found = _moments(own)
                moments[key] = moments[key].merge(found) if key in moments else found
                sums[key] = sums[key] + own.sum(axis=0) if key in sums else own.sum(axis=0)
    return {
        chosen.name: {
            arm: _value(
                chosen, moments[chosen.name, arm], sums[chosen.name, arm], users.days, at_risk
            )
            for arm in arms
        }
        for chosen in metrics
    }


def _moments(values: Float) -> Moments:
    """Moments; of a column with missing values, which is an error elsewhere, not a number."""
    try:
        return Moments.of(values)
    except StatisticsError:
        return Moments(len(values), np.full(2, np.nan), np.full((2, 2), np.nan))


def _value(chosen: Metric, moments: Moments, sums: Float, days: int, at_risk: bool) -> RawValue:
    # A mean's columns are per day: its total is over days, its base is user-days. Where users are
    # at risk on days of their own, they are sums already.
    per = 1 if chosen.denominator or at_risk else days
    total, base = float(sums[0]) * per, float(sums[1]) * per
    value = float(sums[0] / sums[1]) if sums[1] else math.nan
    try:
        (found,) = estimate_arms([moments])
        error = float(np.sqrt(found.raw_variance))
    except StatisticsError:
        error = math.nan
    return RawValue(moments.users, value, error, total, base)
