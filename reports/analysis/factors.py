"""Take the primary metric's lift apart into the factors that the plan declares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from reports.analysis.breakdowns import scaled
from reports.analysis.estimation import Design
from reports.plan import AnalysisPlan, Step
from reports.results import Factor, FactorSplit
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Float, Moments
from reports.statistics.products import Means, adjusted_means, paired_means, product_lift
from reports.users.metric_columns import MetricColumns, during
from reports.users.reductions import arm_moments
from reports.users.table import Users, UserTable


def factor_split(
    users: Users, plan: AnalysisPlan, pair: tuple[str, str], design: Design
) -> FactorSplit | None:
    """The primary metric as a product of factors; None where it is not one.

    Not for ratios, capped metrics, strata, chosen covariates or slopes by arm: the factors would
    not multiply to the lift shown.
    """
    chosen = plan.metric(plan.primary)
    plain = not (plan.strata or plan.select or chosen.cap or chosen.denominator)
    if not plan.steps or not plain or plan.slopes != "common":
        return None
    if plan.steps[-1].columns != chosen.numerator:
        raise ValueError(f"the last step is {plan.steps[-1].columns}, not {chosen.numerator}")
    try:
        raw = arm_moments(users, lambda part: _sums(part, plan.steps, users.days), pair)
        means = _means(users, plan, pair, design)
        found = product_lift(means, confidence=plan.confidence)
    except StatisticsError:
        return None
    shown = [_ratios(arm.mean, plan.steps) for arm in raw]
    factors = tuple(
        Factor(
            step.name,
            step.label,
            step.unit,
            shown[0][number],
            shown[1][number],
            scaled(factor.relative),
            scaled(factor.contribution),
        )
        for number, (step, factor) in enumerate(zip(plan.steps, found.factors, strict=True))
    )
    return FactorSplit(chosen.name, found.lift, factors, plan.confidence)


def _means(users: Users, plan: AnalysisPlan, pair: tuple[str, str], design: Design) -> Means:
    steps = plan.steps
    if design == "twin":
        # The two rows of a person belong together: such a table is never cut.
        (whole,) = users.parts()
        sums = _sums(whole, steps, users.days)
        return paired_means(Moments.of(np.hstack([sums[whole.rows(arm)] for arm in pair])))
    others = plan.covariates if users.has_pre else None
    known = MetricColumns(during, users.days, plan.metric(plan.primary), others).known

    def columns(part: UserTable) -> Float:
        return np.hstack([_sums(part, steps, users.days), known(part)])

    return adjusted_means(arm_moments(users, columns, pair), len(steps))


def _sums(part: UserTable, steps: Sequence[Step], days: int) -> Float:
    """float64[users, steps]: sums of each step's columns, per day."""
    columns = [
        part.during.select(pl.sum_horizontal(step.columns)).to_series().to_numpy() / days
        for step in steps
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _ratios(mean: Float, steps: Sequence[Step]) -> list[float]:
    """Each step's mean over that of the step before, as shown."""
    before = np.concatenate([[1.0], mean[:-1]])
    factors = [step.scale * (100.0 if step.percent else 1.0) for step in steps]
    return [
        float(f * own / last) if last else 0.0
        for f, own, last in zip(factors, mean, before, strict=True)
    ]
